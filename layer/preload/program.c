#include "program.h"

#include "raw.h"

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#endif

enum { SCRIPTS = 5 }; /* execve(2): as deep may one script be another's interpreter */

/* --- the octets ---------------------------------------------------------------------------------------------------------- */

/* "#!", blanks, and a word, which must end within what the kernel looks at. */
static enum program script(const char *text, size_t len, char *interpreter) {
    size_t at = 2, n = 0;
    len = len < PROGRAM_SHEBANG ? len : PROGRAM_SHEBANG;
    while (at < len && (text[at] == ' ' || text[at] == '\t'))
        at++;
    while (at + n < len && text[at + n] && !strchr(" \t\n", text[at + n]))
        n++;
    if (n == 0 || n >= PROGRAM_SHEBANG || at + n >= PROGRAM_SHEBANG)
        return PROGRAM_UNKNOWN;
    memcpy(interpreter, text + at, n);
    interpreter[n] = '\0';
    return PROGRAM_SCRIPT;
}

/* Notes follow each other, each with the name of who wrote it. */
static bool by_go(const uint8_t *notes, size_t len) {
    Elf64_Nhdr note;
    while (len >= sizeof note) {
        memcpy(&note, notes, sizeof note);
        uint64_t name = (note.n_namesz + 3ull) & ~3ull, body = (note.n_descsz + 3ull) & ~3ull;
        if (name + body > len - sizeof note)
            return false;
        if (note.n_namesz == 4 && memcmp(notes + sizeof note, "Go\0", 4) == 0)
            return true;
        notes += sizeof note + name + body;
        len -= sizeof note + (size_t)(name + body);
    }
    return false;
}

static enum program elf(const uint8_t *octets, size_t len) {
    Elf64_Ehdr head;
    bool loader = false, go = false;
    if (octets[EI_CLASS] != ELFCLASS64 || octets[EI_DATA] != ELFDATA2LSB)
        return PROGRAM_FOREIGN;
    memcpy(&head, octets, sizeof head);
    if (head.e_machine != MACHINE)
        return PROGRAM_FOREIGN;
    for (unsigned i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr part;
        uint64_t at = (uint64_t)i * sizeof part;
        if (head.e_phentsize != sizeof part || head.e_phoff > len ||
            len - head.e_phoff < at + sizeof part)
            return PROGRAM_UNKNOWN;
        memcpy(&part, octets + head.e_phoff + at, sizeof part);
        loader |= part.p_type == PT_INTERP;
        if (part.p_type == PT_NOTE && part.p_offset <= len && part.p_filesz <= len - part.p_offset)
            go |= by_go(octets + part.p_offset, (size_t)part.p_filesz);
    }
    return loader && !go ? PROGRAM_LAYERED : PROGRAM_BARE;
}

enum program program_of(const void *octets, size_t len, char *interpreter) {
    const uint8_t *p = octets;
    if (len >= 2 && p[0] == '#' && p[1] == '!')
        return script(octets, len, interpreter);
    if (len >= sizeof(Elf64_Ehdr) && memcmp(p, ELFMAG, SELFMAG) == 0)
        return elf(p, len);
    return PROGRAM_UNKNOWN;
}

/* --- the file ------------------------------------------------------------------------------------------------------------ */

/* What becomes another user, or gets capabilities, by being executed: its loader ignores LD_PRELOAD (ld.so(8), "secure-execution
 * mode"), and with a filter of ours it would not become what it should (no_new_privs). */
static bool becomes_another(int fd, const struct statx *s) {
    struct fd_name name = fd_name(fd);
    bool group = (s->stx_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    return ((s->stx_mode & S_ISUID) && s->stx_uid != (uid_t)raw(SYS_geteuid)) ||
           (group && s->stx_gid != (gid_t)raw(SYS_getegid)) ||
           raw(SYS_getxattr, name.text, "security.capability", NULL, 0L) > 0;
}

static enum program opened(int fd, char *interpreter) {
    uint8_t head[PROGRAM_HEAD];
    struct statx s = {0};
    if (raw(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &s) < 0 || !S_ISREG(s.stx_mode) ||
        !(s.stx_mode & 0111))
        return PROGRAM_UNKNOWN;
    long n = raw(SYS_pread64, fd, head, sizeof head, 0L);
    enum program kind = n > 0 ? program_of(head, (size_t)n, interpreter) : PROGRAM_UNKNOWN;
    bool binary = kind == PROGRAM_BARE || kind == PROGRAM_LAYERED;
    return binary && becomes_another(fd, &s) ? PROGRAM_FOREIGN : kind;
}

static enum program one(int dirfd, const char *path, char *interpreter) {
    if (!*path)
        return opened(dirfd, interpreter);
    int fd = (int)raw(SYS_openat, dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return PROGRAM_UNKNOWN;
    enum program kind = opened(fd, interpreter);
    raw(SYS_close, fd);
    return kind;
}

enum program program_at(int dirfd, const char *path) {
    char interpreter[2][PROGRAM_SHEBANG];
    int before = errno;
    enum program kind = one(dirfd, path, interpreter[0]);
    for (int i = 0; kind == PROGRAM_SCRIPT; i++)
        kind = i < SCRIPTS ? one(AT_FDCWD, interpreter[i % 2], interpreter[(i + 1) % 2])
                           : PROGRAM_UNKNOWN;
    errno = before;
    return kind;
}
