/* Shared by the parts of vgi-fast-run; run.c says what it is. */

#ifndef VGI_FAST_RUN_H
#define VGI_FAST_RUN_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_PATH, close_range, struct ucred */
#endif
#ifdef __APPLE__
#define _DARWIN_C_SOURCE /* getpeereid */
#endif

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef VGI_FAST_VERSION
#define VGI_FAST_VERSION "unknown"
#endif

/* The oldest failures first: what a shell says of commands, and what env(1) and timeout(1) say of themselves. */
enum { EXIT_USAGE = 2, EXIT_OWN_FAILURE = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* How long one step may take before plain execution is better. A template has to load the worker before it answers;
 * as in vgi_fast/run/template.py. */
enum { ANSWER_TIMEOUT_S = 60, LOCK_TIMEOUT_S = 5 };

/* What the user asked for. Strings live as long as the process. */
struct command {
    const char *python;  /* path of the interpreter */
    const char *target;  /* file.py, file.py:attr or module:attr */
    const char *file;    /* the target's file, NULL for a module */
    char **arguments;    /* of the worker, NULL at the end */
    char file_identity[128];
    bool explain;
};

struct buffer {
    char *data;
    size_t size, capacity;
};

/* A place for the socket of one kind of template. */
struct place {
    int directory;  /* the state directory */
    char socket_path[PATH_MAX];
    char name[32]; /* of the files in the directory, without their endings */
    int cwd;
};

/* run.c */
extern char **environ;
void explain(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* identity.c: everything that makes two runs able to share a template, as text fields that end in NUL. */
int identity_of(const struct command *command, struct buffer *identity, struct buffer *changing);
void file_identity(char *text, size_t size, const char *path);
uint64_t hash_of(const struct buffer *text);

/* place.c: the state directory, its lock, and starting a template. They give a reason where they cannot. */
int answer_timeout_s(void);
const char *find_place(struct place *place, const struct buffer *identity);
int connect_to(const struct place *place);
int connect_or_start(const struct place *place, const struct command *command, const struct buffer *identity,
                     bool *started, const char **reason);
void give_up_on(const struct place *place, uint64_t socket_file, const char *reason);
uint64_t socket_file_of(const struct place *place);

/* session.c: one request, and the life of the process that answers it. */
enum outcome { READY, SERVED, STALE, LOST, TIMED_OUT, PLAIN };
enum outcome request_service(int connection, const struct place *place, const struct buffer *identity,
                             const struct buffer *changing, int *child, char *reason, size_t reason_size);
_Noreturn void follow(const struct command *command, int connection, bool is_new, int child);

#endif
