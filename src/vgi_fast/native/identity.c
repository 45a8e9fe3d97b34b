/* What a template's state depends on. Two runs share a template only if all of this is equal, byte by byte:
 * whatever the worker could have seen while it was loaded has to be what it would see now.
 *
 * Kept out are the variables that differ from shell to shell without meaning anything to a worker. They are sent
 * beside the identity, and the serving process sets them for itself. */

#include "run.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Changed together with vgi_fast/run/request.py. */
#define PROTOCOL "1"

/* A name that ends in * stands for all that begin so. */
static const char *const CHANGING[] = {
    "_", "COLORTERM", "COLUMNS", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "GPG_TTY", "INVOCATION_ID", "ITERM_*",
    "JOURNAL_STREAM", "KONSOLE_*", "LINES", "LS_COLORS", "OLDPWD", "PS1", "PWD", "PYTEST_CURRENT_TEST", "SHLVL",
    "SSH_*", "STY", "TERM", "TERMCAP", "TERM_*", "TMUX", "TMUX_PANE", "VGI_FAST_RUN_*", "VTE_VERSION",
    "WAYLAND_DISPLAY", "WINDOW", "WINDOWID", "XAUTHORITY", "XDG_SEAT", "XDG_SESSION_ID", "XDG_VTNR",
};

static const int LIMITS[] = {RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_NOFILE,
                             RLIMIT_STACK, RLIMIT_MEMLOCK, RLIMIT_NPROC};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int append(struct buffer *buffer, const char *text, size_t size) {
    if (buffer->capacity - buffer->size < size) {
        size_t capacity = (buffer->size + size) * 2;
        char *data = realloc(buffer->data, capacity);
        if (data == NULL) return -1;
        buffer->data = data;
        buffer->capacity = capacity;
    }
    memcpy(buffer->data + buffer->size, text, size);
    buffer->size += size;
    return 0;
}

static int append_text(struct buffer *buffer, const char *text) { return append(buffer, text, strlen(text) + 1); }

static int append_number(struct buffer *buffer, const char *label, long long number) {
    char text[64];
    snprintf(text, sizeof text, "%s %lld", label, number);
    return append_text(buffer, text);
}

void file_identity(char *text, size_t size, const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        snprintf(text, size, "none");
        return;
    }
#ifdef __APPLE__
    struct timespec changed = status.st_ctimespec, modified = status.st_mtimespec;
#else
    struct timespec changed = status.st_ctim, modified = status.st_mtim;
#endif
    snprintf(text, size, "%lld:%lld:%lld:%lld:%lld", (long long)status.st_dev, (long long)status.st_ino,
             (long long)status.st_size, modified.tv_sec * 1000000000LL + modified.tv_nsec,
             changed.tv_sec * 1000000000LL + changed.tv_nsec);
}

static int append_file(struct buffer *buffer, const char *path) {
    char text[128];
    file_identity(text, sizeof text, path);
    return append_text(buffer, path) || append_text(buffer, text);
}

static bool is_changing(const char *variable) {
    size_t length = strcspn(variable, "=");
    for (size_t index = 0; index < COUNT(CHANGING); index++) {
        size_t known = strlen(CHANGING[index]);
        if (CHANGING[index][known - 1] == '*') {
            if (strncmp(variable, CHANGING[index], known - 1) == 0) return true;
        } else if (known == length && memcmp(variable, CHANGING[index], length) == 0) {
            return true;
        }
    }
    return false;
}

static int by_text(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Sorted: shells put them in any order. */
static int append_environment(struct buffer *identity, struct buffer *changing) {
    size_t count = 0, kept = 0;
    while (environ[count] != NULL) count++;
    char **variables = malloc((count + 1) * sizeof *variables);
    if (variables == NULL) return -1;
    int failed = 0;
    for (size_t index = 0; index < count && !failed; index++) {
        if (is_changing(environ[index])) {
            failed = append_text(changing, environ[index]);
        } else {
            variables[kept++] = environ[index];
        }
    }
    qsort(variables, kept, sizeof *variables, by_text);
    for (size_t index = 0; index < kept && !failed; index++) failed = append_text(identity, variables[index]);
    free(variables);
    return failed;
}

/* Who this process is and what the kernel grants it: a child of the template has what the template has. */
static int append_process(struct buffer *identity) {
    int failed = append_number(identity, "uid", getuid()) || append_number(identity, "gid", getgid());
    gid_t groups[NGROUPS_MAX > 256 ? 256 : NGROUPS_MAX];
    int count = getgroups(COUNT(groups), groups);
    if (count < 0) return -1;
    for (int index = 0; index < count && !failed; index++) failed = append_number(identity, "group", groups[index]);
    for (size_t index = 0; index < COUNT(LIMITS) && !failed; index++) {
        struct rlimit limit = {0, 0};
        getrlimit(LIMITS[index], &limit);
        failed = append_number(identity, "soft", (long long)limit.rlim_cur)
                 || append_number(identity, "hard", (long long)limit.rlim_max);
    }
    failed = failed || append_number(identity, "nice", getpriority(PRIO_PROCESS, 0));
    mode_t mask = umask(0);
    umask(mask);
    failed = failed || append_number(identity, "umask", mask);
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number < 32 && !failed; number++) {
        struct sigaction action;
        /* Python ignores SIGPIPE whatever it inherits. */
        if (number == SIGPIPE || sigaction(number, NULL, &action) != 0) continue;
        if (action.sa_handler == SIG_IGN) failed = append_number(identity, "ignored", number);
        if (sigismember(&blocked, number) == 1) failed = failed || append_number(identity, "blocked", number);
    }
#ifdef __linux__
    /* The same directory and user can be seen from several containers. */
    static const char *const SPACES[] = {"/proc/self/ns/mnt", "/proc/self/ns/net", "/proc/self/ns/pid",
                                         "/proc/self/ns/user"};
    for (size_t index = 0; index < COUNT(SPACES) && !failed; index++) {
        struct stat status;
        failed = append_number(identity, "space", stat(SPACES[index], &status) == 0 ? (long long)status.st_ino : 0);
    }
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    sched_getaffinity(0, sizeof cpus, &cpus);
    for (int cpu = 0; cpu < CPU_SETSIZE && !failed; cpu++)
        if (CPU_ISSET(cpu, &cpus)) failed = append_number(identity, "cpu", cpu);
#endif
    return failed;
}

static int append_folder(struct buffer *buffer, const char *path) {
    /* Which it is; what lies in it may change. */
    struct stat status;
    if (stat(path, &status) != 0) return -1;
    return append_text(buffer, path) || append_number(buffer, "device", (long long)status.st_dev)
           || append_number(buffer, "inode", (long long)status.st_ino);
}

int identity_of(const struct command *command, struct buffer *identity, struct buffer *changing) {
    char directory[PATH_MAX];
    if (getcwd(directory, sizeof directory) == NULL) return -1;
    int failed = append_text(identity, "vgi-fast-run " VGI_FAST_VERSION " protocol " PROTOCOL)
                 || append_file(identity, command->python) || append_folder(identity, directory)
                 || append_text(identity, command->target) || append_text(identity, command->file_identity);
    for (char **argument = command->arguments; *argument != NULL && !failed; argument++)
        failed = append_text(identity, "argument") || append_text(identity, *argument);
    failed = failed || append_process(identity) || append_environment(identity, changing);
    return failed ? -1 : 0;
}

/* FNV-1a. Only a name for files: the whole identity is compared, and equal hashes do no harm. */
uint64_t hash_of(const struct buffer *text) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t index = 0; index < text->size; index++) hash = (hash ^ (unsigned char)text->data[index]) * 0x100000001b3u;
    return hash;
}
