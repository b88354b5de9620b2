#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""draw.py RESULTS.json PICTURE.svg|.png [ROW...]: the bars of a run of bench.py, a panel a row."""
import json
import math
import sys

COLUMNS = 3
COLOURS = {"pailfs": "#1f6fb4", "s3fs": "#b0b0b0", "rclone": "#8c8c8c", "boto3": "#d9a441",
           "awscli": "#c08a2d", "curl": "#4a4a4a", "local": "#4a4a4a"}
OTHER = "#9a7fb0"
LESS_IS_BETTER = {"ms"}


def draw_panel(axes, lines):
    first = lines[0]
    names = [line["peer"] for line in lines]
    values = [line["median"][line["figure"]] if "median" in line else 0 for line in lines]
    colours = [COLOURS.get(name.partition("-")[0], OTHER) for name in names]
    bars = axes.barh(range(len(names)), values, color=colours)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.invert_yaxis()
    axes.bar_label(bars, [f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value else "failed"
                          for value in values], fontsize=7, padding=2)
    axes.set_xlim(0, (max(values) or 1) * 1.25)
    better = "less is better" if first["figure"] in LESS_IS_BETTER else "more is better"
    axes.set_title(f"{first['row']}, {first['profile']}\n{first['unit']}, {better}", fontsize=8)
    axes.set_xticks([])
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def draw(results, path, rows=None):
    """Draws all rows, or those named."""
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # pylint: disable=import-outside-toplevel
    panels = {}
    for line in results["lines"]:
        if not rows or line["row"] in rows:
            panels.setdefault((line["row"], line["profile"]), []).append(line)
    columns = min(COLUMNS, len(panels))
    height = math.ceil(len(panels) / columns)
    figure, grid = plt.subplots(height, columns, squeeze=False,
                                figsize=(4.2 * columns, 0.7 + 2.2 * height))
    places = [axes for line in grid for axes in line]
    for axes, lines in zip(places, panels.values()):
        draw_panel(axes, lines)
    for axes in places[len(panels):]:
        axes.set_axis_off()
    machine = results["machine"]
    figure.suptitle(f"{results['date']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB, "
                    f"kernel {machine['kernel']}, commit {results['commit']}, "
                    f"medians of {results['rounds']}", fontsize=7)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.25 / (0.7 + 2.2 * height)))
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as text:
        draw(json.load(text), sys.argv[2], sys.argv[3:])
