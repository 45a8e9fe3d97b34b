# Owns: children that do not outlive the process that forked them.
# May use: libc and the interpreter's fork hooks.

cdef extern from *:
    """
    #include <signal.h>
    #include <unistd.h>
    #ifdef __linux__
    #include <sys/prctl.h>
    #endif

    static pid_t fork_tied_child(void) {
        pid_t parent = getpid();
        PyOS_BeforeFork();
        pid_t child = fork();
        if (child == 0) {
    #ifdef __linux__
            prctl(PR_SET_PDEATHSIG, SIGKILL);
    #endif
            /* It may have ended before the call above. */
            if (getppid() != parent) _exit(1);
            PyOS_AfterFork_Child();
        } else {
            int failure = errno;
            PyOS_AfterFork_Parent();
            errno = failure;
        }
        return child;
    }
    """
    int fork_tied_child()


def fork_tied():
    """As ``os.fork``; the child is killed when this process ends, however it does (Linux).

    It says nothing of threads that the child will lack: whoever forks has to have looked for them.
    """
    cdef int child = fork_tied_child()
    if child < 0:
        raise OSError(errno, "cannot fork")
    return child
