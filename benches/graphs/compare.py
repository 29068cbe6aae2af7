#!/usr/bin/env python3
"""The same graph and the same starts as the bench `graphs`, walked by rustworkx, networkx and PostgreSQL.

compare.py FOLDER: reads FOLDER/edges.csv (dependency,dependent) and FOLDER/starts.txt. PostgreSQL is started from
QUELL_POSTGRES_BIN in FOLDER on a socket of its own, and stopped by its process id. Absent on purpose: installing any of
them; `./dev bench graphs` does that.
"""
import gc, os, pwd, resource, shutil, subprocess, sys, time
from pathlib import Path

folder = Path(sys.argv[1]).resolve()
starts = [int(line) for line in (folder / "starts.txt").read_text().split()]
reached = {}


def report(name, load, rss, took, found):
    took.sort()
    reached[name] = found
    at = lambda share: took[min(len(took) - 1, max(0, -(-len(took) * share // 100) - 1))] * 1e3
    print(f"{name}: loaded in {load:.1f} s, {rss} MiB; {len(took)} walks of {sum(found) // len(found)} dependents; "
          f"p50 {at(50):.2f} ms, p99 {at(99):.2f} ms, max {took[-1] * 1e3:.2f} ms", flush=True)


def in_child(name, work):
    """Runs in a process of its own, so that each has its own memory; prints what it measured."""
    pid = os.fork()
    if pid == 0:
        begun = time.perf_counter()
        walk = work()
        # Millions of objects: what is loaded stays, and need not be looked through for garbage during a walk.
        gc.freeze()
        load = time.perf_counter() - begun
        took, found = [], []
        for start in starts:
            begun = time.perf_counter()
            found.append(walk(start))
            took.append(time.perf_counter() - begun)
        report(name, load, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, took, found)
        os._exit(0 if all(n == 9999 for n in found) else 3)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        sys.exit(f"{name}: failed with {status}; 3 says that it reached other CIs than quell")


def edges():
    with open(folder / "edges.csv") as file:
        for line in file:
            a, b = line.split(",")
            yield int(a), int(b)


def rustworkx():
    import rustworkx
    graph = rustworkx.PyDiGraph(multigraph=False)
    graph.add_nodes_from(range(1_000_000))
    graph.add_edges_from_no_data(list(edges()))
    return lambda start: len(rustworkx.descendants(graph, start))


def networkx():
    import networkx
    graph = networkx.DiGraph()
    graph.add_edges_from(edges())
    return lambda start: len(networkx.descendants(graph, start))


def postgres():
    programs = Path(os.environ["QUELL_POSTGRES_BIN"])
    environment = dict(os.environ)
    share = []
    if root := os.environ.get("QUELL_POSTGRES_ROOT"):
        environment["LD_LIBRARY_PATH"] = ":".join(str(path) for path in Path(root, "usr/lib").glob("*-linux-gnu"))
        share = ["-L", f"{root}/usr/share/postgresql/15"]
    # It refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    home = Path("/tmp", f"quell-graphs-{os.getpid()}")
    home.mkdir(mode=0o755)
    if user:
        os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    run = dict(env=environment, user=user, cwd="/tmp", stdout=subprocess.DEVNULL)
    server = None
    try:
        subprocess.run([programs / "initdb", "-D", home / "data", "-U", "quell", "-A", "trust", *share], check=True, **run)
        settings = ["listen_addresses=", f"unix_socket_directories={home}", "shared_buffers=1GB", "work_mem=256MB",
                    "fsync=off", "max_wal_size=8GB", "max_parallel_workers_per_gather=0"]
        server = subprocess.Popen([programs / "postgres", "-D", home / "data", *sum((["-c", s] for s in settings), [])],
                                  stderr=subprocess.DEVNULL, **run)
        psql = [shutil.which("psql") or programs / "psql", "-h", home, "-U", "quell", "-d", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1"]
        for _ in range(100):
            if subprocess.run([*psql, "-c", "select 1"], env=environment, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        begun = time.perf_counter()
        with open(folder / "edges.csv") as file:
            subprocess.run([*psql, "-c", "create table relationships (dependency int not null, dependent int not null)",
                            "-c", "copy relationships from stdin (format csv)",
                            "-c", "create index on relationships (dependency) include (dependent)",
                            "-c", "vacuum analyze relationships"], stdin=file, env=environment, check=True)
        load = time.perf_counter() - begun
        query = ("with recursive down (ci) as (select {0} union select r.dependent from down d join relationships r "
                 "on r.dependency = d.ci) select count(*) - 1 from down;")
        script = "\\timing on\n" + "\n".join(query.format(start) for start in starts) + "\n"
        out = subprocess.run(psql, input=script, env=environment, check=True, capture_output=True, text=True).stdout
        lines = [line for line in out.splitlines() if line.strip()]
        took = [float(line.split()[1]) / 1e3 for line in lines if line.startswith("Time:")]
        found = [int(line) for line in lines if line.isdigit()]
        size = subprocess.run([*psql, "-c", "select pg_total_relation_size('relationships') >> 20"], env=environment,
                              check=True, capture_output=True, text=True).stdout.strip()
        report("PostgreSQL 15, recursive query", load, f"{size} MiB on disk, 1024", took, found)
        if any(n != 9999 for n in found):
            sys.exit("PostgreSQL reached other CIs than quell")
    finally:
        if server:
            server.terminate()
            server.wait()
        shutil.rmtree(home, ignore_errors=True)


in_child("rustworkx", rustworkx)
in_child("networkx", networkx)
postgres()
