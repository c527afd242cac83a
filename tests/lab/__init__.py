"""The laboratory: what every real-server test shares. Standard library only, Python 3.11.

A server's test puts `tests/` and `tests/servers/` on sys.path (scripts/evaluate does) and imports `lab.*`:

    from lab import procs, volume, gate, load, stats, table

    with procs.workspace("dovecot") as work, volume.Volume(work, size="3G") as vol:
        mail, index = vol.subvolume("mail"), vol.subvolume("index")
        g = gate.Gate(work, paths=[mail, index])          # or None for a control run
        server = procs.Service(["dovecot", "-F", ...], env=g.environment(), log=work / "log")
        with server:
            procs.wait_for_port(port)
            with load.Load(clients, log=work / "operations") as running:
                taken = g.freeze(vol.snapshot_command([mail, index], "s1", pause_s=0.1))
                ...

Each module's first lines say its one duty. Everything is a context manager: leaving it, also by
an exception or by SIGINT/SIGTERM (procs.workspace turns those into exceptions), stops processes
by pid and takes mounts down.
"""
