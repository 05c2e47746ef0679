#include "layer/files/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set(int context, const char *key, const char *value) {
    unsigned command = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
    return (int)syscall(SYS_fsconfig, context, command, key, value, 0);
}

/* Permissions are the agent's to judge, as the target's process (no default_permissions); the app is any user (allow_other). */
static int configure(int context, int device, bool read_only, struct fault *f) {
    char fd[16];
    snprintf(fd, sizeof fd, "%d", device);
    if (set(context, "source", "mirror-run") < 0 || set(context, "fd", fd) < 0 ||
        set(context, "rootmode", "40000") < 0 || set(context, "user_id", "0") < 0 ||
        set(context, "group_id", "0") < 0 || set(context, "allow_other", NULL) < 0 ||
        (read_only && set(context, "ro", NULL) < 0) ||
        syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return fault_set(f, errno, "make a FUSE file system");
    return 0;
}

static int mount_on(int device, bool read_only, struct fault *f) {
    int context = (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC);
    if (context < 0)
        return fault_set(f, errno, "begin a FUSE file system (is CAP_SYS_ADMIN there?)");
    int mount = configure(context, device, read_only, f);
    if (mount == 0) {
        mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
        if (mount < 0)
            fault_set(f, errno, "mount a FUSE file system");
    }
    close(context);
    return mount;
}

int mount_detached(bool read_only, int *device, int *mount, struct fault *f) {
    int fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fault_set(f, errno, "open /dev/fuse, the device of FUSE");
    int made = mount_on(fd, read_only, f);
    if (made < 0) {
        close(fd);
        return -1;
    }
    *device = fd;
    *mount = made;
    return 0;
}
