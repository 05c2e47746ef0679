/* What is said at the files' door: one packet asks, one packet answers, perhaps with a descriptor.
 *
 * The layer in the app decides by its rules that a path is the target's, connects to the abstract SOCK_SEQPACKET socket
 * DOOR_NAME of the network namespace that app and bridge share, sends one packet, receives one, and closes. A connection for
 * each ask, and not one that is kept: nothing of it is inherited by fork, shared between threads, closed by a program that
 * closes all it knows, or to be locked in a signal handler; and the kernel says by SO_PEERCRED who asks. A connect, two packets
 * and a close are about 20 us, against a round trip of the link of 100 us and more. The socket is a blocking one: while the
 * door's queue is full, connect(2) waits.
 *
 * A path is absolute in the target: it begins with '/', is at most DOOR_PATH octets, holds no NUL, and is resolved by the door
 * with the target's root as its root (openat2(2), RESOLVE_IN_ROOT): '..' at the root is the root, absolute symlinks begin
 * there. The layer makes relative paths absolute: by its own directory or a descriptor's (/proc/self/fd/N), as it sees them.
 *
 * Integers are the machine's own: both ends are on one machine. The door trusts no field. A packet of another length than its
 * fields say, of an unknown version or op, or with a flag that is not listed, is answered with -EINVAL; one that does not
 * come within DOOR_PATIENCE ms is not answered at all. When there is no door (ECONNREFUSED), or it closes without an answer
 * (a read of 0), the session has ended: EIO is what the app is told.
 *
 * Whose rights: none of the asker's. The agent acts as the target's process; the door refuses (-EACCES) whoever is neither
 * root nor the app's user, unless the app itself runs as root: then what it has started under other users may ask too.
 */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>

/* As sun_path begins, and its length: no NUL at the end. */
#define DOOR_NAME     "\0mirror-run/files"
#define DOOR_NAME_LEN (sizeof(DOOR_NAME) - 1)
#define DOOR_VERSION  1
#define DOOR_PATH     (PATH_MAX - 1)
/* As the names of CONNECT's answers begin. */
#define DOOR_SOCKET     "\0mirror-run/socket/"
#define DOOR_SOCKET_LEN (sizeof(DOOR_SOCKET) - 1)
/* An extended attribute's value, or the list of their names: XATTR_SIZE_MAX, XATTR_LIST_MAX. */
#define DOOR_VALUE    65536
#define DOOR_PATIENCE 1000

/* In `flags` of every op but OPEN, which has O_NOFOLLOW: the path's last part is not followed if it is a symlink. UNLINK,
 * RMDIR, MKDIR, SYMLINK, RENAME and READLINK never follow it; LINK follows only with DOOR_FOLLOW. */
#define DOOR_NOFOLLOW 0x80000000u
#define DOOR_FOLLOW   0x40000000u

/* What each says beside `path`; what an op does not name is 0. "->" is the answer's body, after its head.
 *
 *   OPEN         flags: open(2)'s, without O_TMPFILE and O_ASYNC; mode, the umask taken off -> nothing, and a descriptor
 *                With the ask may come a descriptor (SCM_RIGHTS): of a folder of the asker's, whose names are listed with those
 *                of the one that is opened
 *   STAT         flags: NOFOLLOW -> struct statx, whole
 *   ACCESS       mode: R_OK | W_OK | X_OK, or F_OK; flags: NOFOLLOW
 *   READLINK     -> its text, without a NUL
 *   STATFS       -> struct door_statfs
 *   MKDIR        mode, the umask taken off
 *   RENAME       second: the new path; flags: renameat2(2)'s
 *   LINK         second: the new path; flags: FOLLOW
 *   SYMLINK      second: what it says (any text of 1 to DOOR_PATH octets)
 *   TRUNCATE     length
 *   CHMOD        mode; flags: NOFOLLOW
 *   CHOWN        uid, gid (UINT32_MAX: as it is); flags: NOFOLLOW
 *   UTIMENS      times, as utimensat(2)'s, UTIME_NOW and UTIME_OMIT too; flags: NOFOLLOW
 *   GETXATTR     second: its name; size: what the asker has room for, 0 asks for the length; flags: NOFOLLOW -> the value
 *   LISTXATTR    size; flags: NOFOLLOW -> the names
 *   SETXATTR     second: its name; value_len octets after it; flags: setxattr(2)'s and NOFOLLOW
 *   REMOVEXATTR  second: its name; flags: NOFOLLOW
 *   WITHOUT_LAYER a program of the app's is executed that will see the container's own files alone; path: its, or "/".
 *                Nothing is done but that it is counted
 *   WATCH        flags: NOFOLLOW -> nothing, and a descriptor (O_PATH) of what inotify(7) is to watch in place of the path
 *   CONNECT      size: the type of the asker's socket, 0 is SOCK_STREAM -> as sun_path, the name of such a socket (abstract) that
 *                stands for that of the target's: connected to already, so that its errors are the answer's; whoever asked
 *                connects to the name now
 */
enum door_op {
    DOOR_OPEN = 1,
    DOOR_STAT,
    DOOR_ACCESS,
    DOOR_READLINK,
    DOOR_STATFS,
    DOOR_MKDIR,
    DOOR_RMDIR,
    DOOR_UNLINK,
    DOOR_RENAME,
    DOOR_LINK,
    DOOR_SYMLINK,
    DOOR_TRUNCATE,
    DOOR_CHMOD,
    DOOR_CHOWN,
    DOOR_UTIMENS,
    DOOR_GETXATTR,
    DOOR_LISTXATTR,
    DOOR_SETXATTR,
    DOOR_REMOVEXATTR,
    DOOR_WITHOUT_LAYER,
    DOOR_CONNECT,
    DOOR_WATCH,
    DOOR_OPS,
};

/* The head of a packet; `path_len` octets of path, `second_len` and `value_len` more follow it, and nothing else. */
struct door_ask {
    uint16_t version; /* DOOR_VERSION */
    uint16_t op;
    uint32_t flags;
    uint32_t mode;
    uint32_t uid, gid;
    uint32_t size;
    uint16_t path_len, second_len;
    uint32_t value_len;
    int64_t length;
    struct {
        int64_t sec, nsec;
    } times[2]; /* of access, of modification */
};

#define DOOR_ASK_MAX (sizeof(struct door_ask) + 2 * (size_t)DOOR_PATH + DOOR_VALUE)

/* The head of the answer; `body_len` octets follow. A descriptor comes with it (SCM_RIGHTS) when OPEN succeeded. */
struct door_answer {
    int32_t result; /* what the system call returns, or -errno; then there is no body */
    uint32_t body_len;
};

/* struct statfs has another layout for each libc and machine; these are its fields, for the layer to fill in its own. */
struct door_statfs {
    uint64_t type, bsize, blocks, bfree, bavail, files, ffree, namelen, frsize;
};

_Static_assert(sizeof(struct door_ask) == 72 && sizeof(struct door_answer) == 8 &&
                   sizeof(struct door_statfs) == 72,
               "no holes: what is sent is what was written");
