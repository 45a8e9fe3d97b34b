/* vgi-fast-run: a worker's command line, served by a process that has everything imported.
 *
 *     vgi-fast-run [OPTION]... worker.py [ARGUMENT]...
 *
 * A worker that starts spends its time importing. So the first use starts a *template* (vgi_fast/run/template.py): a
 * process of the same user that loads the worker and then waits. Each use, the first included, sends it standard
 * input, output and error; it forks, and the child serves at once. This process stays, to the outside the worker:
 * it passes signals on and ends as the child ends. If the template or the way to it is not as it should be, the
 * interpreter is executed in place, which is always right and only slower.
 *
 *     identity.c  what two uses must have in common to share a template
 *     place.c     finding and starting it
 *     session.c   the request, signals, the end
 */

#include "run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#define PYTHON_CODE "from vgi_fast.run.program import main; main()"

static const char USAGE[] =
    "Usage: vgi-fast-run [OPTION]... TARGET [WORKER ARGUMENT]...\n"
    "\n"
    "  Serve a worker from a template process that has it loaded, started when first\n"
    "  needed. To be written into LOCATION: 'vgi-fast-run worker.py'.\n"
    "\n"
    "  TARGET is worker.py, run as Python runs it, file.py:attr or module:attr.\n"
    "\n"
    "  --no-template    start the interpreter, without a template\n"
    "  --template       use a template, also where that is not the default\n"
    "  --explain, --verbose\n"
    "                   say on standard error which way was taken, and why\n"
    "  --version, --help\n"
    "\n"
    "Variables:\n"
    "  VGI_FAST_RUN_TEMPLATE     0 for --no-template, 1 for --template\n"
    "  VGI_FAST_RUN_EXPLAIN      1 for --explain\n"
    "  VGI_FAST_RUN_DIR          where templates have their sockets\n"
    "  VGI_FAST_RUN_TIMEOUT_S    how long a template may take to load the worker (60)\n"
    "  VGI_FAST_TEMPLATE_IDLE_S  how long an unused template stays (300)\n"
    "  VGI_FAST_PYTHON           the interpreter, instead of the one beside this program\n";

/* Frameworks that cannot be forked are part of much that is imported elsewhere, and nothing there ends a child
 * together with its parent. */
#ifdef __linux__
static const bool TEMPLATE_BY_DEFAULT = true;
#else
static const bool TEMPLATE_BY_DEFAULT = false;
#endif

void explain(const struct command *command, const char *format, ...) {
    if (!command->explain) return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "vgi-fast-run: %s\n", text);
}

static _Noreturn void fail(int status, const char *what, const char *why) {
    fprintf(stderr, "vgi-fast-run: %s: %s\n", what, why);
    exit(status);
}

static bool is_program(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* The path of this executable, with links resolved. */
static int own_path(char *path, size_t size) {
#ifdef __APPLE__
    char found[PATH_MAX];
    uint32_t length = sizeof found;
    char resolved[PATH_MAX];
    if (_NSGetExecutablePath(found, &length) != 0 || realpath(found, resolved) == NULL || strlen(resolved) >= size)
        return -1;
    strcpy(path, resolved);
    return 0;
#else
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    if (length <= 0) return -1;
    path[length] = 0;
    return 0;
#endif
}

static const char *search(const char *name) {
    static char path[PATH_MAX];
    const char *folders = getenv("PATH");
    for (const char *folder = folders == NULL ? "" : folders; *folder != 0;) {
        size_t length = strcspn(folder, ":");
        int size = snprintf(path, sizeof path, "%.*s/%s", length ? (int)length : 1, length ? folder : ".", name);
        if (size > 0 && (size_t)size < sizeof path && is_program(path)) return path;
        folder += length + (folder[length] == ':');
    }
    return NULL;
}

static const char *find_python(void) {
    static char path[PATH_MAX];
    static const char *const NAMES[] = {"python", "python3"};
    const char *given = getenv("VGI_FAST_PYTHON");
    if (given != NULL && *given != 0) {
        const char *found = strchr(given, '/') != NULL ? (is_program(given) ? given : NULL) : search(given);
        if (found == NULL) fail(EXIT_NOT_FOUND, given, "no such interpreter (VGI_FAST_PYTHON)");
        return found;
    }
    char own[PATH_MAX];
    char *slash = own_path(own, sizeof own) == 0 ? strrchr(own, '/') : NULL;
    if (slash != NULL) {
        *slash = 0;
        for (int index = 0; index < 2; index++) {
            int size = snprintf(path, sizeof path, "%s/%s", own, NAMES[index]);
            if (size > 0 && (size_t)size < sizeof path && is_program(path)) return path;
        }
    }
    /* Installed for a user, scripts are not beside the interpreter. */
    for (int index = 1; index >= 0; index--) {
        const char *found = search(NAMES[index]);
        if (found != NULL) return found;
    }
    fail(EXIT_NOT_FOUND, "python", "no interpreter beside this program or on PATH; VGI_FAST_PYTHON names one");
}

/* file.py, file.py:attr, or an existing file of any name; NULL for a module. As vgi_fast/run/program.py has it. */
static const char *file_of(const char *target) {
    static char path[PATH_MAX];
    const char *colon = strrchr(target, ':');
    size_t length = strlen(target);
    if (colon != NULL && colon - target > 3 && memcmp(colon - 3, ".py", 3) == 0 && strchr(colon, '/') == NULL)
        length = colon - target;
    if (length >= sizeof path) fail(EXIT_NOT_FOUND, target, strerror(ENAMETOOLONG));
    memcpy(path, target, length);
    path[length] = 0;
    bool named_so = length > 3 && memcmp(path + length - 3, ".py", 3) == 0;
    struct stat status;
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
        if (access(path, R_OK) != 0) fail(EXIT_NOT_EXECUTABLE, path, strerror(errno));
        return path;
    }
    if (named_so || strchr(path, '/') != NULL) fail(EXIT_NOT_FOUND, path, errno ? strerror(errno) : "not a file");
    return NULL;
}

static bool switched(const char *name, bool otherwise) {
    const char *value = getenv(name);
    return value == NULL || *value == 0 ? otherwise : strcmp(value, "0") != 0;
}

static bool has_standard_descriptors(void) {
    for (int descriptor = 0; descriptor < 3; descriptor++)
        if (fcntl(descriptor, F_GETFD) < 0) return false;
    return true;
}

/* Returns only where no template serves, with the reason. */
static const char *serve_by_template(const struct command *command) {
    static char reason[512];
    struct buffer identity = {0}, changing = {0};
    struct place place;
    if (!has_standard_descriptors()) return "standard input, output or error is closed";
    if (identity_of(command, &identity, &changing) != 0) return "what the worker depends on could not be found out";
    const char *no_place = find_place(&place, &identity);
    if (no_place != NULL) return no_place;
    /* A template that ends in this moment is no reason to do without one; a second one is. */
    for (int attempt = 0; attempt < 2; attempt++) {
        bool started = false;
        int connection = connect_to(&place), child = 0;
        if (connection < 0) {
            const char *refused = NULL;
            connection = connect_or_start(&place, command, &identity, &started, &refused);
            if (connection < 0) return refused;
        }
        uint64_t socket_file = socket_file_of(&place);
        switch (request_service(connection, &place, &identity, &changing, &child, reason, sizeof reason)) {
        case SERVED: follow(command, connection, started, child);
        case PLAIN: return reason;
        case TIMED_OUT:
            snprintf(reason, sizeof reason, "the template did not answer within %d s", answer_timeout_s());
            give_up_on(&place, socket_file, reason);
            return reason;
        case STALE: explain(command, "files of the worker have changed, its template leaves"); break;
        case READY:
        case LOST:
            if (started) {
                give_up_on(&place, socket_file, NULL);
                return "the new template ended before it served";
            }
        }
        close(connection);
    }
    return "templates end before they serve";
}

static _Noreturn void execute(const struct command *command) {
    size_t count = 0;
    while (command->arguments[count] != NULL) count++;
    const char **arguments = calloc(count + 6, sizeof *arguments);
    if (arguments == NULL) fail(EXIT_OWN_FAILURE, command->python, strerror(errno));
    arguments[0] = command->python;
    arguments[1] = "-P";
    arguments[2] = "-c";
    arguments[3] = PYTHON_CODE;
    arguments[4] = command->target;
    memcpy(arguments + 5, command->arguments, count * sizeof *arguments);
    execv(command->python, (char *const *)arguments);
    fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE, command->python, strerror(errno));
}

int main(int count, char **arguments) {
    bool wanted = switched("VGI_FAST_RUN_TEMPLATE", TEMPLATE_BY_DEFAULT);
    struct command command = {.explain = switched("VGI_FAST_RUN_EXPLAIN", false)};
    int index = 1;
    for (; index < count && arguments[index][0] == '-'; index++) {
        const char *option = arguments[index];
        if (strcmp(option, "--") == 0) {
            index++;
            break;
        }
        if (strcmp(option, "--help") == 0 || strcmp(option, "-h") == 0) {
            fputs(USAGE, stdout);
            return 0;
        }
        if (strcmp(option, "--version") == 0) {
            puts("vgi-fast-run " VGI_FAST_VERSION);
            return 0;
        }
        if (strcmp(option, "--no-template") == 0) {
            wanted = false;
        } else if (strcmp(option, "--template") == 0) {
            wanted = true;
        } else if (strcmp(option, "--explain") == 0 || strcmp(option, "--verbose") == 0) {
            command.explain = true;
        } else {
            fail(EXIT_USAGE, option, "no such option; --help lists them");
        }
    }
    if (index >= count) {
        fputs(USAGE, stderr);
        return EXIT_USAGE;
    }
    command.target = arguments[index];
    command.arguments = arguments + index + 1;
    command.file = file_of(command.target);
    command.python = find_python();
    if (command.file != NULL) {
        file_identity(command.file_identity, sizeof command.file_identity, command.file);
    } else {
        strcpy(command.file_identity, "module");
    }
    const char *reason = wanted ? serve_by_template(&command) : "no template is wanted";
    explain(&command, "plain execution: %s", reason);
    execute(&command);
}
