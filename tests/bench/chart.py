"""How seconds and memory grow with the number of hosts, as a chart."""

from collections.abc import Sequence
from pathlib import Path

Point = tuple[str, int, float, float]  # line, hosts, CPU seconds, peak MiB


def draw(points: Sequence[Point], file: Path) -> None:
    """Both axes are logarithmic, so a straight line as steep as the dotted one is linear growth."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "restow"  # the same points make the same file
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    names = list(dict.fromkeys(point[0] for point in points))
    for place, (title, column) in enumerate((("CPU seconds, the whole process", 2), ("peak memory, MiB", 3))):
        axes = figure.add_subplot(1, 2, 1 + place)
        for name in names:
            mine = sorted((point[1], float(point[column])) for point in points if point[0] == name)
            hosts, values = zip(*mine, strict=True)
            axes.plot(hosts, values, marker="o", label=name)
            linear = [values[0] * one / hosts[0] for one in hosts]
            axes.plot(
                hosts, linear, color="grey", linestyle=":", linewidth=1, label="linear" if name == names[-1] else None
            )
        axes.set(xscale="log", yscale="log", xlabel="hosts, with twenty servers each", title=title)
        ticks = sorted({point[1] for point in points})
        axes.set_xticks(ticks, [f"{one:,}" for one in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(visible=True, alpha=0.3)
    figure.axes[0].legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None, "Creator": None})
