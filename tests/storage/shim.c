/* Notes what would survive a power cut: for each file under CUT_ROOT what it held at its last fsync, for each folder the names
 * at its last fsync. The notes go to CUT_LOG, one record a write(), so that a kill leaves whole records and at most one torn
 * at the end. Nothing is really synced: the test kills the process, not the machine. sync_file_range counts for nothing.
 *
 * With SHIM_FAIL=N the disk fails, late, at the Nth sync_file_range of a few bytes: what sled writes last of a transaction.
 *
 * A record: u32 length of the rest, a type, then
 *   Z  u64 inode                                              a new file
 *   F  u64 inode, u64 size, then (u64 offset, u32 length, bytes)...   a file was synced
 *   N  u16 length, path, then (u8 is a folder, u64 inode, u16 length, name)...   a folder was synced
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 1024
#define RANGES 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *graves;
static size_t root_len;
static int log_fd = -1;
static struct { uint64_t inode; char *path; } fds[FDS];
static struct { uint64_t inode; off_t from, to; } ranges[RANGES];
static size_t range_count, grave_count;
static char *note;
static size_t note_len, note_room;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_fsync)(int);

static void die(const char *why) {
    fprintf(stderr, "shim: %s\n", why);
    abort();
}

__attribute__((constructor)) static void start(void) {
    if (real_open) return;
    real_openat = dlsym(RTLD_NEXT, "openat");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_open = dlsym(RTLD_NEXT, "open");
    const char *log = getenv("CUT_LOG");
    root = getenv("CUT_ROOT");
    graves = getenv("CUT_GRAVES");
    if (!root || !log || !graves) { root = NULL; return; }
    root_len = strlen(root);
    log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) die("cannot open CUT_LOG");
}

static int ours(const char *path) { return root && path && !strncmp(path, root, root_len); }

static void put(const void *bytes, size_t len) {
    if (note_len + len > note_room) {
        note_room = (note_len + len) * 2;
        note = realloc(note, note_room);
        if (!note) die("no memory");
    }
    memcpy(note + note_len, bytes, len);
    note_len += len;
}

static void begin(char type) {
    uint32_t none = 0;
    note_len = 0;
    put(&none, 4);
    put(&type, 1);
}

static void end(void) {
    uint32_t len = (uint32_t)(note_len - 4);
    memcpy(note, &len, 4);
    for (size_t done = 0; done < note_len;) {
        ssize_t n = real_write(log_fd, note + done, note_len - done);
        if (n < 0 && errno != EINTR) die("cannot write CUT_LOG");
        if (n > 0) done += (size_t)n;
    }
}

static void dirty(uint64_t inode, off_t from, off_t to) {
    if (range_count == RANGES) die("too many unsynced writes");
    ranges[range_count].inode = inode;
    ranges[range_count].from = from;
    ranges[range_count++].to = to;
}

static void opened(int fd, const char *path, int fresh) {
    struct stat st;
    if (fd < 0) return;
    if (fd >= FDS) die("too many files");
    if (fstat(fd, &st)) die("fstat");
    fds[fd].inode = st.st_ino;
    fds[fd].path = strdup(path);
    if (fresh) {
        begin('Z');
        put(&fds[fd].inode, 8);
        end();
    }
}

static int open_any(const char *path, int flags, mode_t mode) {
    start();
    if (!ours(path)) return real_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat st;
    int there = !stat(path, &st);
    int fd = real_open(path, flags, mode);
    int saved = errno;
    opened(fd, path, !there && (flags & O_CREAT));
    if (fd >= 0 && there && (flags & O_TRUNC)) dirty(st.st_ino, 0, st.st_size);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list ap; va_start(ap, flags); mode = va_arg(ap, mode_t); va_end(ap); }
int open(const char *path, int flags, ...) { MODE(flags) return open_any(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_any(path, flags, mode); }
static int openat_any(int dir, const char *path, int flags, mode_t mode) {
    start();
    return path[0] == '/' ? open_any(path, flags, mode) : real_openat(dir, path, flags, mode);
}
int openat(int dir, const char *path, int flags, ...) { MODE(flags) return openat_any(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags) return openat_any(dir, path, flags, mode); }

int close(int fd) {
    start();
    if (root && fd >= 0 && fd < FDS && fds[fd].path) {
        pthread_mutex_lock(&lock);
        free(fds[fd].path);
        fds[fd].path = NULL;
        int result = real_close(fd);
        pthread_mutex_unlock(&lock);
        return result;
    }
    return real_close(fd);
}

int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags) {
    static int small;
    const char *fail = getenv("SHIM_FAIL");
    if (fail && len < 64 && __sync_add_and_fetch(&small, 1) == atoi(fail)) {
        usleep(200000);
        errno = EIO;
        return -1;
    }
    (void)fd, (void)at, (void)flags;
    return 0;
}

static int tracked(int fd) { return root && fd >= 0 && fd < FDS && fds[fd].path; }

ssize_t write(int fd, const void *bytes, size_t len) {
    start();
    if (!tracked(fd)) return real_write(fd, bytes, len);
    pthread_mutex_lock(&lock);
    ssize_t n = real_write(fd, bytes, len);
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (n > 0) dirty(fds[fd].inode, at - n, at);
    pthread_mutex_unlock(&lock);
    return n;
}

static ssize_t pwrite_any(int fd, const void *bytes, size_t len, off_t at) {
    start();
    if (!tracked(fd)) return real_pwrite(fd, bytes, len, at);
    pthread_mutex_lock(&lock);
    ssize_t n = real_pwrite(fd, bytes, len, at);
    if (n > 0) dirty(fds[fd].inode, at, at + n);
    pthread_mutex_unlock(&lock);
    return n;
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) { return pwrite_any(fd, bytes, len, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at) { return pwrite_any(fd, bytes, len, at); }

ssize_t writev(int fd, const struct iovec *iov, int count) {
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) real = dlsym(RTLD_NEXT, "writev");
    if (tracked(fd)) die("writev is not followed");
    return real(fd, iov, count);
}
static ssize_t pwritev_any(const char *name, int fd, const struct iovec *iov, int count, off_t at) {
    ssize_t (*real)(int, const struct iovec *, int, off_t) = dlsym(RTLD_NEXT, name);
    if (tracked(fd)) die("pwritev is not followed");
    return real(fd, iov, count, at);
}
ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at) { return pwritev_any("pwritev", fd, iov, count, at); }
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t at) { return pwritev_any("pwritev64", fd, iov, count, at); }

static int ftruncate_any(int fd, off_t size) {
    start();
    if (!tracked(fd)) return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    struct stat st;
    fstat(fd, &st);
    int result = real_ftruncate(fd, size);
    if (!result) dirty(fds[fd].inode, size < st.st_size ? size : st.st_size, size > st.st_size ? size : st.st_size);
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate_any(fd, size); }
int ftruncate64(int fd, off_t size) { return ftruncate_any(fd, size); }

/* Keeps the inode of a file that loses its name, so that no new file gets its number while a durable name may mean the old. */
static void bury(const char *path) {
    char grave[4096];
    snprintf(grave, sizeof grave, "%s/%d-%zu", graves, (int)getpid(), grave_count++);
    if (link(path, grave) && errno != ENOENT && errno != EPERM) die("cannot link into CUT_GRAVES");
}

int rename(const char *from, const char *to) {
    start();
    if (!ours(to)) return real_rename(from, to);
    pthread_mutex_lock(&lock);
    bury(to);
    int result = real_rename(from, to);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    start();
    if (!ours(path)) return real_unlink(path);
    pthread_mutex_lock(&lock);
    bury(path);
    int result = real_unlink(path);
    pthread_mutex_unlock(&lock);
    return result;
}

/* glibc's own does not come through unlink. */
int remove(const char *path) {
    static int (*real)(const char *);
    start();
    if (!real) real = dlsym(RTLD_NEXT, "remove");
    if (!ours(path)) return real(path);
    pthread_mutex_lock(&lock);
    bury(path);
    int result = real(path);
    pthread_mutex_unlock(&lock);
    return result;
}

static void note_folder(const char *path) {
    const char *name = path + root_len;
    while (*name == '/') name++;
    uint16_t len = (uint16_t)strlen(name);
    begin('N');
    put(&len, 2);
    put(name, len);
    DIR *dir = opendir(path);
    if (!dir) die("opendir");
    for (struct dirent *e; (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        uint8_t folder = e->d_type == DT_DIR;
        uint64_t inode = e->d_ino;
        len = (uint16_t)strlen(e->d_name);
        put(&folder, 1);
        put(&inode, 8);
        put(&len, 2);
        put(e->d_name, len);
    }
    closedir(dir);
    end();
}

static void note_file(int fd, const struct stat *st) {
    uint64_t inode = st->st_ino, size = (uint64_t)st->st_size;
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int in = real_open(self, O_RDONLY | O_CLOEXEC);
    if (in < 0) die("cannot read a file");
    begin('F');
    put(&inode, 8);
    put(&size, 8);
    size_t kept = 0;
    for (size_t i = 0; i < range_count; i++) {
        if (ranges[i].inode != inode) { ranges[kept++] = ranges[i]; continue; }
        off_t to = ranges[i].to < st->st_size ? ranges[i].to : st->st_size;
        for (off_t at = ranges[i].from; at < to;) {
            char buffer[65536];
            size_t want = to - at < (off_t)sizeof buffer ? (size_t)(to - at) : sizeof buffer;
            ssize_t n = pread(in, buffer, want, at);
            if (n <= 0) die("cannot read a file");
            uint64_t offset = (uint64_t)at;
            uint32_t len = (uint32_t)n;
            put(&offset, 8);
            put(&len, 4);
            put(buffer, len);
            at += n;
        }
    }
    range_count = kept;
    real_close(in);
    end();
}

/* Notes a file that was not opened through here, by stdio or as a duplicate: all of it counts as written since. */
static int sync_unseen(int fd) {
    char link[64], path[4096];
    struct stat st;
    if (!root) return real_fsync(fd);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return real_fsync(fd);
    path[len] = 0;
    if (!ours(path) || fstat(fd, &st)) return real_fsync(fd);
    pthread_mutex_lock(&lock);
    if (S_ISDIR(st.st_mode)) note_folder(path);
    else {
        dirty(st.st_ino, 0, st.st_size);
        note_file(fd, &st);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

static int sync_any(int fd) {
    start();
    if (!tracked(fd)) return sync_unseen(fd);
    pthread_mutex_lock(&lock);
    struct stat st;
    if (fstat(fd, &st)) die("fstat");
    if (S_ISDIR(st.st_mode)) note_folder(fds[fd].path); else note_file(fd, &st);
    pthread_mutex_unlock(&lock);
    return 0;
}
int fsync(int fd) { return sync_any(fd); }
int fdatasync(int fd) { return sync_any(fd); }
