# SPDX-License-Identifier: Apache-2.0
"""What came out: medians, targets, and the table as text. It knows the rows, not how they ran."""
import statistics

MIB = 1 << 20
GB = 1e9
LEAST_MOVED = MIB  # of less, CPU seconds a GB say nothing
# Figures in which less is better.
LESS = {"ms", "close_s", "rss_mib", "cpu_s_per_gb", "amplification"}


def finish(figures):
    """Adds what follows from a cell's figures."""
    moved, asked = figures.get("moved_bytes"), figures.get("asked_bytes")
    if moved and moved >= LEAST_MOVED and "cpu_s" in figures:
        figures["cpu_s_per_gb"] = figures["cpu_s"] / (moved / GB)
    if asked and figures.get("object_down_bytes"):
        figures["amplification"] = figures["object_down_bytes"] / asked
    return figures


def summary(row, profile, peer, runs, failed):
    """One line of the results: medians of the numbers that all runs have, and the runs."""
    line = {"row": row.name, "profile": profile, "peer": peer, "figure": row.figure,
            "unit": row.unit, "runs": runs, "failed": failed}
    if runs and not failed:
        numbers = [key for key, value in runs[0].items()
                   if isinstance(value, (int, float)) and not isinstance(value, bool)
                   and all(key in run for run in runs)]
        line["median"] = {key: statistics.median(run[key] for run in runs) for key in numbers}
        line["cut"] = any(run.get("cut") for run in runs)
    return line


def value_of(lines, profile, peer, figure):
    for line in lines:
        if line["profile"] == profile and line["peer"] == peer and "median" in line:
            return line["median"].get(figure)
    return None


def check_target(lines, target):
    """(what the target says, what was measured or None, reached or None)."""
    name = target.figure.replace("_per_", "/")
    if target.of:
        text = f"{name} {target.op} {target.bound:g} x {target.of}"
        own = value_of(lines, target.profile, target.peer, target.figure)
        other = value_of(lines, target.profile, target.of, target.figure)
        found = own / other if own is not None and other else None
    else:
        text = f"{name} {target.op} {target.bound:g}"
        found = value_of(lines, target.profile, target.peer, target.figure)
    if found is None:
        return text, None, None
    return text, found, found >= target.bound if target.op == ">=" else found <= target.bound


def targets_of(row, lines):
    """What each target of the row says; lines: the row's."""
    found = []
    measured = {(line["profile"], line["peer"]) for line in lines}
    for target in row.targets:
        if (target.profile, target.peer) in measured:
            text, value, reached = check_target(lines, target)
            found.append({"row": row.name, "profile": target.profile, "peer": target.peer,
                          "target": text, "value": value, "reached": reached,
                          "quiet": target.quiet})
    return found


def number(value, places=2):
    """Three digits that matter, no more."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else places}f}"


def head(results):
    """What was measured, when, where, and what this machine's memory can do at most."""
    m = results["machine"]
    return (f"{results['date']}, {results['commit']}, {m['cpus']} CPUs ({m['cpu']}), "
            f"{m['memory_gib']} GiB, Linux {m['kernel']}, "
            f"TCP {m['congestion_control']}\n"
            f"memory: first touch {number(m['first_touch_gb_per_s'])} GB/s "
            f"({number(m['touched_bytes'] / GB)} GB at the beginning), touched again "
            f"{number(m['touch_gb_per_s'])} GB/s (pages of 4 KiB), "
            f"memcpy {number(m['memcpy_gb_per_s'])} GB/s")


def ratio(line, lines):
    """How many times as good pailfs is as this peer."""
    own = value_of(lines, line["profile"], "pailfs", line["figure"])
    other = line.get("median", {}).get(line["figure"])
    if not own or not other or line["peer"].startswith("pailfs"):
        return ""
    return f"{number(other / own if line['figure'] in LESS else own / other)} x"


def table(row, lines, targets):
    """The row's part of the table, as text."""
    text = []
    for profile in dict.fromkeys(line["profile"] for line in lines):
        text.append(f"\n{row.name}, {profile}: {row.title}")
        text.append(f"  {'peer':20} {row.unit:>8}  {'(runs)':<22} {'CPU s/GB':>8} {'CPU s':>7} "
                    f"{'RSS MiB':>8} {'requests':>9} {'MB down':>8} {'MB up':>8} "
                    f"{'x asked':>8} {'pailfs is':>9}")
        for line in lines:
            if line["profile"] == profile:
                text.append(table_line(line, lines))
        for target in targets:
            if target["profile"] == profile and not (target["quiet"] and target["reached"]):
                verdict = {True: "reached", False: "NOT REACHED", None: "not measured"}
                text.append(f"    target {target['peer']} {target['target']}: "
                            f"{number(target['value'])}, {verdict[target['reached']]}")
    return "\n".join(text)


def table_line(line, lines):
    if "median" not in line:
        return f"  {line['peer']:20} {'failed':>8}  {line['failed']}"
    median = line["median"]
    runs = " ".join(number(run[line["figure"]]) for run in line["runs"])
    extra = "".join(f"  {name} {number(median[key])}" for key, name in (
        ("close_s", "close s"), ("close_mb_per_s", "MB/s to close"), ("p99_ms", "p99 ms"),
        ("worst_ms", "worst ms"), ("read_mb_per_s", "MB/s read back")) if key in median)
    if line["cut"]:
        extra += f"  CUT OFF by the time limit after {number(median['done'])}"
    megabytes = {key: number(median[key] / 1e6) if key in median else "-"
                 for key in ("wire_down_bytes", "wire_up_bytes")}
    rss = number(median.get("rss_mib") or None)
    requests = f"{median['requests']:,.0f}" if "requests" in median else "-"
    return (f"  {line['peer']:20} {number(median[line['figure']]):>8}  {runs:<22} "
            f"{number(median.get('cpu_s_per_gb')):>8} {number(median.get('cpu_s')):>7} {rss:>8} "
            f"{requests:>9} {megabytes['wire_down_bytes']:>8} {megabytes['wire_up_bytes']:>8} "
            f"{number(median.get('amplification')):>8} {ratio(line, lines):>9}{extra}").rstrip()
