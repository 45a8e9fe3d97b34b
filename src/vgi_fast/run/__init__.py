"""``vgi-fast-run``: a worker that serves at once, from a process that has it loaded.

    ATTACH 'demo' (TYPE vgi, LOCATION 'vgi-fast-run worker.py');

DuckDB starts workers again and again: one for each thread, new ones after a few idle seconds and after each error.
Most of that time goes into imports. The first use of ``vgi-fast-run`` starts a *template*: a process of the same user
that runs the program up to ``Worker.run``. Each use, the first included, is a child that the template forks there.
``vgi-fast-run`` itself (``native/``) passes signals on to the child and ends as it does, so that to the outside there
is one process. ``program.py`` executes programs, ``template.py`` is the loop, ``request.py`` what is said between the
two, ``watch.py`` the files that matter, ``forking.py`` what forks make difficult, ``housekeeping.py`` the sockets.

A template is shared by uses that agree in everything the program could see while it was loaded: the file, its
arguments, the interpreter, the working directory, the environment, user, limits, niceness, processors, containers,
umask, ignored and blocked signals. Variables that differ from shell to shell (``CHANGING`` in ``native/identity.c``)
are excepted, and set anew in each child. After a change to the program, to a module of its own or to the installed
packages, a new template takes over. Without use a template leaves after ``VGI_FAST_TEMPLATE_IDLE_S`` seconds, 300 by
default.

Taken care of in a child:

- standard streams, working directory, umask, environment, signals; the process dies with ``vgi-fast-run``, and with
  the template;
- ``random``, ``numpy.random`` and NumPy's generators, unless they were given a seed: that stays what it is, for NumPy
  (``random`` and its functions get a new state always, a ``random.Random`` never);
- buffered output; exit handlers, temporary folders and ``with`` blocks around ``run``: what was entered while the
  program was loaded ends with the template, once;
- thread pools of OpenBLAS and pyarrow.

What an author has to know:

- what is read while the program is loaded, files and databases for instance, is as old as the template;
- open files share their position between the children: open in the function what a function reads;
- what follows ``Worker.run`` does not happen in children; they end where it would return;
- a program that starts threads or opens network connections while it is loaded has no template;
- descriptors beyond standard error are not passed on;
- ``Worker(…, template=False)`` keeps a worker from all this, ``vgi-fast-run --no-template`` a use.

Whatever is in the way, the interpreter is executed in place, which gives the same worker, later: no or a strange state
directory (``VGI_FAST_RUN_DIR``, ``$XDG_RUNTIME_DIR/vgi-fast``, ``$TMPDIR/vgi-fast-<uid>``), a program that does not
load, a template that does not answer within ``VGI_FAST_RUN_TIMEOUT_S`` seconds (60 by default). ``--explain`` says
which way was taken and why. A reason that lies with the program is remembered for an hour, in a file ``*.plain`` of
the state directory.

Outside of Linux templates are used only when asked for (``--template``): frameworks of macOS that NumPy and others
load do not survive forks, and no kernel service ends children with their parent there.
"""
