"""The order in which a call is shown and the barrier looked at, as it was compiled: the barrier goes up between any two
instructions of it. A busy machine hits the few that matter too seldom to prove anything."""
import rig


def cases(work):
    steps = rig.build(work, "steps.c")
    with rig.Tmpfs() as gates, rig.Work() as places:
        page = rig.make_page(gates)
        told = rig.assignments(rig.loaded(gates, WRITEGATE_PATHS=str(places)))[1:]
        code, out, err = rig.run([steps, page, places / "told", *map(str, rig.BARRIERS), "--", *told], rig.clean(), seconds=60)
        said = {line.split()[0]: [int(number) for number in line.split()[1:]] for line in out.decode().splitlines()}
        for call in ("write", "pwrite", "fchmod"):
            # It shows nothing at the first instructions, and itself at the last.
            at, nothing, passed = said.get(call, (0, 0, 0))
            wrong = f"{at} places, {nothing} of them show nothing, {passed} of these pass; exit {code} {err.decode()[-200:]}"
            yield f"the barrier goes up at any instruction of {call}", None if code == 0 and 0 < nothing < at and not passed else wrong
