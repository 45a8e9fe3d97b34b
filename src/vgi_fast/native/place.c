/* Where templates are found: a directory of this user's own with a socket for each, and one lock for all changes to
 * it. A socket nobody listens on is left over from a template that was killed; whoever holds the lock replaces it.
 *
 * The binary that finds no template binds the socket itself and lets the template inherit it. So there is never a
 * second one, and requests that arrive while the worker is being loaded wait in the backlog instead of polling. */

#include "run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

#define LOCK_NAME "lock"
#define PYTHON_CODE "from vgi_fast.run.template import main; main()"

enum { BACKLOG = 511, LISTENER = 3, IDENTITY = 4, FIRST_OTHER = 5, SPARE = 16 };

/* How long a template that was found unsuitable is not tried again; vgi_fast/run/housekeeping.py removes it then. */
enum { UNSUITABLE_S = 3600 };

static int close_on_exec(int descriptor) { return fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

static const char *state_directory(char *path, size_t size) {
    const char *given = getenv("VGI_FAST_RUN_DIR"), *runtime = getenv("XDG_RUNTIME_DIR"), *temporary = getenv("TMPDIR");
    int length;
    if (given != NULL && *given != 0) {
        if (*given != '/') return "the state directory (VGI_FAST_RUN_DIR) must be an absolute path";
        length = snprintf(path, size, "%s", given);
    } else if (runtime != NULL && *runtime == '/') {
        length = snprintf(path, size, "%s/vgi-fast", runtime);
    } else {
        if (temporary == NULL || *temporary != '/') temporary = "/tmp";
        length = snprintf(path, size, "%s/vgi-fast-%ld", temporary, (long)geteuid());
    }
    return length < 0 || (size_t)length >= size ? "the path of the state directory is too long" : NULL;
}

const char *find_place(struct place *place, const struct buffer *identity) {
    static char reason[PATH_MAX + 128];
    char path[PATH_MAX];
    const char *too_long = state_directory(path, sizeof path);
    if (too_long != NULL) return too_long;
    if (geteuid() != getuid() || getegid() != getgid()) return "this process runs with another user's rights";
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        snprintf(reason, sizeof reason, "cannot make the state directory %s: %s", path, strerror(errno));
        return reason;
    }
    place->directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (place->directory < 0 || fstat(place->directory, &status) != 0) {
        snprintf(reason, sizeof reason, "cannot open the state directory %s: %s", path, strerror(errno));
        return reason;
    }
    if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        snprintf(reason, sizeof reason, "the state directory %s must belong to this user, mode 0700", path);
        return reason;
    }
    snprintf(place->name, sizeof place->name, "%016llx", (unsigned long long)hash_of(identity));
    int length = snprintf(place->socket_path, sizeof place->socket_path, "%s/%s.sock", path, place->name);
    if (length < 0 || (size_t)length >= sizeof((struct sockaddr_un *)0)->sun_path)
        return "the path of the state directory is too long for a socket";
    place->cwd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
#ifdef O_PATH
    if (place->cwd < 0) place->cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
#endif
    return place->cwd < 0 ? "cannot open the working directory" : NULL;
}

static struct sockaddr_un address_of(const struct place *place) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, place->socket_path, strlen(place->socket_path) + 1);
    return address;
}

int answer_timeout_s(void) {
    const char *given = getenv("VGI_FAST_RUN_TIMEOUT_S");
    int seconds = given == NULL ? 0 : atoi(given);
    return seconds > 0 ? seconds : ANSWER_TIMEOUT_S;
}

static int new_socket(void) {
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    if (descriptor < 0) return -1;
    close_on_exec(descriptor);
    struct timeval timeout = {.tv_sec = answer_timeout_s()};
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
#ifdef SO_NOSIGPIPE
    int on = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    return descriptor;
}

static bool is_own_user(int connection) {
#ifdef __linux__
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
#else
    uid_t user;
    gid_t group;
    return getpeereid(connection, &user, &group) == 0 && user == geteuid();
#endif
}

int connect_to(const struct place *place) {
    int connection = new_socket();
    if (connection < 0) return -1;
    struct sockaddr_un address = address_of(place);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) == 0 && is_own_user(connection))
        return connection;
    close(connection);
    return -1;
}

/* An open descriptor of the locked file, whose closing unlocks it. */
static int lock(const struct place *place) {
    int file = openat(place->directory, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return -1;
    for (int waited_ms = 0; flock(file, LOCK_EX | LOCK_NB) != 0; waited_ms += 5) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || waited_ms > LOCK_TIMEOUT_S * 1000) {
            close(file);
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    return file;
}

static void name_of(const struct place *place, const char *ending, char *name, size_t size) {
    snprintf(name, size, "%s.%s", place->name, ending);
}

/* Why a template of this kind was refused a while ago, NULL if it was not. */
static const char *unsuitable(const struct place *place) {
    static char reason[512];
    char name[64];
    name_of(place, "plain", name, sizeof name);
    int file = openat(place->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return NULL;
    struct stat status;
    ssize_t size = read(file, reason, sizeof reason - 1);
    bool valid = fstat(file, &status) == 0 && size >= 0 && time(NULL) - status.st_mtime < UNSUITABLE_S;
    close(file);
    if (!valid) return NULL;
    reason[size] = 0;
    return reason;
}

uint64_t socket_file_of(const struct place *place) {
    struct stat status;
    if (lstat(place->socket_path, &status) != 0) return 0;
#ifdef __APPLE__
    struct timespec made = status.st_mtimespec;
#else
    struct timespec made = status.st_mtim;
#endif
    /* The number alone may be that of a file which was removed a moment ago. */
    return (uint64_t)status.st_ino * 0x9e3779b97f4a7c15u ^ ((uint64_t)made.tv_sec * 1000000000u + made.tv_nsec);
}

/* A template that does not answer or has died young. With a reason, the next uses do without one. */
void give_up_on(const struct place *place, uint64_t socket_file, const char *reason) {
    int locked = lock(place);
    if (locked < 0) return;
    if (socket_file != 0 && socket_file_of(place) == socket_file) {
        unlink(place->socket_path);
        char name[64];
        name_of(place, "plain", name, sizeof name);
        int file = -1;
        if (reason != NULL)
            file = openat(place->directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (file >= 0) {
            if (write(file, reason, strlen(reason)) < 0) unlinkat(place->directory, name, 0);
            close(file);
        }
    }
    close(locked);
}

/* The identity as a file without a name, for the template to compare requests with. */
static int identity_file(const struct place *place, const struct buffer *identity) {
    char name[64];
    snprintf(name, sizeof name, "%s.%ld.id", place->name, (long)getpid());
    int file = openat(place->directory, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return -1;
    unlinkat(place->directory, name, 0);
    size_t written = 0;
    while (written < identity->size) {
        ssize_t count = write(file, identity->data + written, identity->size - written);
        if (count < 0) {
            close(file);
            return -1;
        }
        written += count;
    }
    if (lseek(file, 0, SEEK_SET) < 0) {
        close(file);
        return -1;
    }
    return file;
}

static int listen_on(const struct place *place) {
    int listener = new_socket();
    if (listener < 0) return -1;
    struct sockaddr_un address = address_of(place);
    unlink(place->socket_path);
    mode_t before = umask(0177);
    int bound = bind(listener, (struct sockaddr *)&address, sizeof address);
    umask(before);
    if (bound != 0 || listen(listener, BACKLOG) != 0) {
        close(listener);
        return -1;
    }
    return listener;
}

static void close_from(int first) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
#endif
    struct rlimit limit = {0, 0};
    getrlimit(RLIMIT_NOFILE, &limit);
    int end = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > 65536 ? 65536 : (int)limit.rlim_cur;
    for (int descriptor = first; descriptor < end; descriptor++) close(descriptor);
}

/* In the process that becomes the template. It has what a plainly executed worker would have, but its own session and
 * no input and output: those of this command must not outlive it. Standard error stays until the worker is loaded. */
static _Noreturn void become_template(const struct command *command, int listener, int identity) {
    setsid();
    /* Out of the way of the numbers that they get. */
    listener = fcntl(listener, F_DUPFD, SPARE);
    identity = fcntl(identity, F_DUPFD, SPARE);
    int null = open("/dev/null", O_RDWR);
    if (listener < 0 || identity < 0 || null < 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0
        || dup2(listener, LISTENER) < 0 || dup2(identity, IDENTITY) < 0)
        _exit(EXIT_OWN_FAILURE);
    close_from(FIRST_OTHER);
    size_t count = 0;
    while (command->arguments[count] != NULL) count++;
    const char **arguments = calloc(count + 8, sizeof *arguments);
    if (arguments == NULL) _exit(EXIT_OWN_FAILURE);
    size_t size = 0;
    arguments[size++] = command->python;
    arguments[size++] = "-P";
    arguments[size++] = "-c";
    arguments[size++] = PYTHON_CODE;
    arguments[size++] = command->file_identity;
    arguments[size++] = command->target;
    memcpy(arguments + size, command->arguments, count * sizeof *arguments);
    execv(command->python, (char *const *)arguments);
    _exit(EXIT_OWN_FAILURE);
}

static int spawn(const struct command *command, int listener, int identity) {
    pid_t between = fork();
    if (between < 0) return -1;
    if (between == 0) {
        /* Its parent leaves at once: whoever ends this command's descendants does not mean the template. */
        pid_t template = fork();
        if (template == 0) become_template(command, listener, identity);
        _exit(template < 0 ? 1 : 0);
    }
    int status;
    while (waitpid(between, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

int connect_or_start(const struct place *place, const struct command *command, const struct buffer *identity,
                     bool *started, const char **reason) {
    int locked = lock(place);
    if (locked < 0) {
        *reason = "the state directory could not be locked";
        return -1;
    }
    int connection = connect_to(place);
    if (connection < 0 && (*reason = unsuitable(place)) == NULL) {
        int listener = listen_on(place);
        int file = listener < 0 ? -1 : identity_file(place, identity);
        if (file >= 0) connection = connect_to(place);
        if (connection >= 0 && spawn(command, listener, file) == 0) {
            *started = true;
        } else {
            *reason = "a template process could not be started";
            if (listener >= 0) unlink(place->socket_path);
            if (connection >= 0) close(connection);
            connection = -1;
        }
        if (file >= 0) close(file);
        if (listener >= 0) close(listener);
    }
    close(locked);
    return connection;
}
