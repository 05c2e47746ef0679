#include "layer/files/made.h"

#include "native/files_words.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Offsets, with the entry's number in the lower 24 bits. A file system's own are small numbers or hashes: that one is in here is
 * improbable, and it would only be told its folder's end too early. */
#define BASE   0x2d52464900000000ull
#define NUMBER 0xffffffull
#define HEAD   sizeof(struct fuse_out_header)

struct one {
    uint8_t type;
    bool of_target; /* too, and listed by it */
    char *name;
};

struct made_folder {
    struct made_folder *next;
    pid_t thread; /* whose MADE_CALL is to come; 0: it has */
    uint64_t handle;
    uint32_t count, room;
    struct one *all; /* by their names' order */
};

/* --- a folder ----------------------------------------------------------------------------------------------------------- */

static void folder_free(struct made_folder *f) {
    for (uint32_t i = 0; i < f->count; i++)
        free(f->all[i].name);
    free(f->all);
    free(f);
}

static bool keep(struct made_folder *f, const struct dirent *e) {
    if (f->count == f->room) {
        uint32_t room = f->room ? 2 * f->room : 16;
        struct one *all = realloc(f->all, room * sizeof *all);
        if (!all)
            return false;
        f->all = all;
        f->room = room;
    }
    char *name = strdup(e->d_name);
    if (name)
        f->all[f->count++] = (struct one){.type = e->d_type, .name = name};
    return name != NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct one *)a)->name, ((const struct one *)b)->name);
}

/* NULL: there is nothing, or no memory. */
static struct made_folder *folder_read(int own) {
    struct made_folder *f = calloc(1, sizeof *f);
    int fd = dup(own);
    DIR *d = f && fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *e; d && f->count < MADE_MOST && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !keep(f, e))
            break;
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
    if (f && f->count) {
        qsort(f->all, f->count, sizeof *f->all, by_name);
        return f;
    }
    if (f)
        folder_free(f);
    return NULL;
}

/* --- folders under way ---------------------------------------------------------------------------------------------------- */

void made_init(struct made *m) {
    *m = (struct made){.first = NULL};
    pthread_mutex_init(&m->lock, NULL);
}

/* Locked. By its handle, or by who is about to say it. */
static struct made_folder **find(struct made *m, uint64_t handle, pid_t thread) {
    struct made_folder **at = &m->first;
    while (*at && ((*at)->thread != thread || (!thread && (*at)->handle != handle)))
        at = &(*at)->next;
    return at;
}

static void take_out(struct made *m, uint64_t handle, pid_t thread) {
    pthread_mutex_lock(&m->lock);
    struct made_folder **at = find(m, handle, thread), *f = *at;
    if (f) {
        *at = f->next;
        atomic_fetch_sub(&m->count, 1);
    }
    pthread_mutex_unlock(&m->lock);
    if (f)
        folder_free(f);
}

void made_clear(struct made *m) {
    for (struct made_folder *f; (f = m->first); folder_free(f))
        m->first = f->next;
}

void made_join(struct made *m, int folder, int own) {
    struct stat st;
    bool is_folder = fstat(folder, &st) == 0 && S_ISDIR(st.st_mode);
    struct made_folder *f = is_folder ? folder_read(own) : NULL;
    if (!f)
        return;
    f->thread = gettid();
    pthread_mutex_lock(&m->lock);
    f->next = m->first;
    m->first = f;
    atomic_fetch_add(&m->count, 1);
    pthread_mutex_unlock(&m->lock);
    ioctl(folder, MADE_CALL);
    take_out(m, 0, gettid()); /* unless its handle is known now */
}

bool made_claim(struct made *m, pid_t thread, uint64_t handle) {
    pthread_mutex_lock(&m->lock);
    struct made_folder *f = thread ? *find(m, 0, thread) : NULL;
    if (f) {
        f->thread = 0;
        f->handle = handle;
    }
    pthread_mutex_unlock(&m->lock);
    return f != NULL;
}

void made_released(struct made *m, uint64_t handle) {
    if (atomic_load(&m->count))
        take_out(m, handle, 0);
}

/* --- entries ---------------------------------------------------------------------------------------------------------------- */

/* Locked. Those from a number on, as many as there is room for; in place of `unique`'s answer. */
static struct message *listed(const struct made_folder *f, uint32_t from, uint64_t unique,
                              uint32_t size, bool plus) {
    struct message *m = message_new(HEAD + (size < FILES_IO ? size : FILES_IO));
    size_t head = plus ? sizeof(struct fuse_entry_out) : 0, n = HEAD;
    if (!m)
        return NULL;
    for (uint32_t i = from; i < f->count; i++) {
        size_t len = strlen(f->all[i].name);
        size_t whole = (head + FUSE_NAME_OFFSET + len + 7) & ~(size_t)7;
        if (f->all[i].of_target)
            continue;
        if (n + whole > m->len)
            break;
        const struct fuse_dirent d = {.ino = BASE | (i + 1), /* what stat(2) says is the layer's */
                                      .off = BASE | (i + 1),
                                      .namelen = (uint32_t)len,
                                      .type = f->all[i].type};
        memset(m->data + n, 0, whole);
        memcpy(m->data + n + head, &d, FUSE_NAME_OFFSET);
        memcpy(m->data + n + head + FUSE_NAME_OFFSET, f->all[i].name, len);
        n += whole;
    }
    m->len = (uint32_t)n;
    *(struct fuse_out_header *)m->data = (struct fuse_out_header){.len = m->len, .unique = unique};
    return m;
}

static bool is_ours(uint64_t offset) {
    return (offset & ~NUMBER) == BASE;
}

struct message *made_answer(struct made *m, const struct message *request) {
    const struct fuse_in_header *head = (const void *)request->data;
    const struct fuse_read_in *in = (const void *)(head + 1);
    struct message *answer = NULL;
    if (!atomic_load(&m->count) || request->len < sizeof *head + sizeof *in || !is_ours(in->offset))
        return NULL;
    pthread_mutex_lock(&m->lock);
    struct made_folder *f = *find(m, in->fh, 0);
    if (f)
        answer = listed(f, (uint32_t)(in->offset & NUMBER), head->unique, in->size,
                        head->opcode == FUSE_READDIRPLUS);
    pthread_mutex_unlock(&m->lock);
    return answer;
}

/* A name that the target has too. */
static void mark(struct made_folder *f, const uint8_t *name, size_t len) {
    char text[256];
    const struct one key = {.name = text};
    if (len >= sizeof text)
        return;
    memcpy(text, name, len);
    text[len] = '\0';
    struct one *found = bsearch(&key, f->all, f->count, sizeof *f->all, by_name);
    if (found)
        found->of_target = true;
}

static void mark_all(struct made_folder *f, const struct message *answer, bool plus) {
    size_t head = plus ? sizeof(struct fuse_entry_out) : 0, whole;
    struct fuse_dirent d;
    for (size_t at = HEAD; at + head + FUSE_NAME_OFFSET <= answer->len; at += whole) {
        memcpy(&d, answer->data + at + head, FUSE_NAME_OFFSET);
        whole = (head + FUSE_NAME_OFFSET + d.namelen + 7) & ~(size_t)7;
        if (d.namelen > answer->len || at + whole > answer->len)
            return;
        mark(f, answer->data + at + head + FUSE_NAME_OFFSET, d.namelen);
    }
}

struct message *made_behind(struct made *m, struct message *answer, uint64_t handle, uint32_t size,
                            bool plus) {
    const struct fuse_out_header *head = answer ? (const void *)answer->data : NULL;
    struct message *more = NULL;
    if (!atomic_load(&m->count) || !head || head->error)
        return answer;
    pthread_mutex_lock(&m->lock);
    struct made_folder *f = *find(m, handle, 0);
    if (f && answer->len > HEAD)
        mark_all(f, answer, plus);
    else if (f)
        more = listed(f, 0, head->unique, size, plus);
    pthread_mutex_unlock(&m->lock);
    if (!more)
        return answer;
    free(answer);
    return more;
}
