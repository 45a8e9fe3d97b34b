/* The conversation with a template. First goes a message of sizes, the identity and the variables that differ. When
 * the template is ready for it, one byte follows with the descriptors 0, 1, 2 and the working directory: what waits in
 * the queue of a process that does not answer would stay open there. Answers are pairs of 32-bit numbers: what
 * happened, to whom. */

#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SO_NOSIGPIPE is set instead */
#endif

/* Changed together with vgi_fast/run/request.py. */
enum { READY_REPLY = 'A', STARTED_REPLY = 'S', STALE_REPLY = 'R', PLAIN_REPLY = 'P', ENDED_REPLY = 'E' };
struct header {
    char magic[4];
    uint32_t identity_size, changing_size;
};
struct reply {
    uint32_t kind;
    int32_t value;
};

static const int FORWARDED[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};

static int template_connection; /* for the signal handler */

/* The descriptors of the message go with its first byte. */
static int send_all(int connection, struct msghdr *message) {
    while (message->msg_iovlen > 0) {
        ssize_t sent = sendmsg(connection, message, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        message->msg_control = NULL;
        message->msg_controllen = 0;
        while (message->msg_iovlen > 0 && (size_t)sent >= message->msg_iov->iov_len) {
            sent -= message->msg_iov->iov_len;
            message->msg_iov++;
            message->msg_iovlen--;
        }
        if (message->msg_iovlen > 0) {
            message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + sent;
            message->msg_iov->iov_len -= sent;
        }
    }
    return 0;
}

/* The number of bytes that came before the end; -1 for an error. */
static ssize_t receive(int connection, void *data, size_t size) {
    size_t have = 0;
    while (have < size) {
        ssize_t count = recv(connection, (char *)data + have, size - have, 0);
        if (count == 0) break;
        if (count < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        have += count;
    }
    return (ssize_t)have;
}

static bool is_timeout(void) { return errno == EAGAIN || errno == EWOULDBLOCK; }

/* What an answer means; where there is none, why. */
static enum outcome outcome_of(int connection, const struct reply *reply, ssize_t size, char *reason,
                               size_t reason_size) {
    if (size < 0 && is_timeout()) return TIMED_OUT;
    if (size != sizeof *reply) return LOST;
    switch (reply->kind) {
    case READY_REPLY: return READY;
    case STARTED_REPLY: return SERVED;
    case STALE_REPLY: return STALE;
    case PLAIN_REPLY:
        size = receive(connection, reason, reason_size - 1);
        reason[size < 0 ? 0 : size] = 0;
        return PLAIN;
    default: return LOST; /* it ended before it read anything */
    }
}

static int send_request(int connection, const struct buffer *identity, const struct buffer *changing) {
    struct header header = {.magic = {'V', 'G', 'F', 'R'},
                            .identity_size = (uint32_t)identity->size,
                            .changing_size = (uint32_t)changing->size};
    struct iovec parts[] = {{&header, sizeof header},
                            {identity->data, identity->size},
                            {changing->data, changing->size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    return send_all(connection, &message);
}

static int send_descriptors(int connection, const struct place *place) {
    int passed[] = {0, 1, 2, place->cwd};
    char byte = 0;
    struct iovec part = {&byte, 1};
    union {
        char space[CMSG_SPACE(sizeof passed)];
        struct cmsghdr aligned;
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    struct cmsghdr *descriptors = CMSG_FIRSTHDR(&message);
    descriptors->cmsg_level = SOL_SOCKET;
    descriptors->cmsg_type = SCM_RIGHTS;
    descriptors->cmsg_len = CMSG_LEN(sizeof passed);
    memcpy(CMSG_DATA(descriptors), passed, sizeof passed);
    return send_all(connection, &message);
}

enum outcome request_service(int connection, const struct place *place, const struct buffer *identity,
                             const struct buffer *changing, int *child, char *reason, size_t reason_size) {
    struct reply reply;
    /* A refusal may have come although not everything was sent. */
    if (send_request(connection, identity, changing) != 0 && is_timeout()) return TIMED_OUT;
    ssize_t size = receive(connection, &reply, sizeof reply);
    enum outcome outcome = outcome_of(connection, &reply, size, reason, reason_size);
    if (outcome != READY) return outcome == SERVED ? LOST : outcome;
    if (send_descriptors(connection, place) != 0) return LOST;
    size = receive(connection, &reply, sizeof reply);
    if (size < 0 && is_timeout()) {
        /* Either a process has said that it serves, or now none can any more. */
        shutdown(connection, SHUT_RDWR);
        size = receive(connection, &reply, sizeof reply);
        if (size == 0) return TIMED_OUT;
    }
    outcome = outcome_of(connection, &reply, size, reason, reason_size);
    *child = reply.value;
    return outcome == READY ? LOST : outcome;
}

static void forward(int number) {
    int before = errno;
    unsigned char byte = (unsigned char)number;
    if (send(template_connection, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) { /* its end is noticed elsewhere */
    }
    errno = before;
}

static void forward_signals(void) {
    for (size_t index = 0; index < sizeof FORWARDED / sizeof *FORWARDED; index++) {
        struct sigaction action;
        if (sigaction(FORWARDED[index], NULL, &action) != 0 || action.sa_handler == SIG_IGN) continue;
        action = (struct sigaction){.sa_handler = forward, .sa_flags = SA_RESTART};
        sigfillset(&action.sa_mask);
        sigaction(FORWARDED[index], &action, NULL);
    }
}

/* As the child did: its status, or death by the same signal, without a second core file. */
static _Noreturn void end_like(int status) {
    if (!WIFSIGNALED(status)) exit(WEXITSTATUS(status));
    int number = WTERMSIG(status);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(number, SIG_DFL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    raise(number);
    exit(128 + number); /* not by every signal */
}

_Noreturn void follow(const struct command *command, int connection, bool is_new, int child) {
    template_connection = connection;
    forward_signals();
    explain(command, "a %s template serves, as process %d", is_new ? "new" : "warm", child);
    /* Whoever waits for the end of input or output waits for the child's. */
    close(0);
    close(1);
    struct timeval forever = {0, 0};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    struct reply reply;
    if (receive(connection, &reply, sizeof reply) == sizeof reply && reply.kind == ENDED_REPLY) end_like(reply.value);
    static const char lost[] = "vgi-fast-run: the template process ended, and the worker with it\n";
    if (write(2, lost, sizeof lost - 1) < 0) { /* nobody reads it */
    }
    exit(EXIT_OWN_FAILURE);
}
