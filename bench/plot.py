"""plot.py: bars as SVG, for results that are looked at in a browser.  Python 3.8 with its standard library."""
from html import escape

COLORS = ["#1b6ca8", "#5aa9e6", "#d1495b", "#edae49", "#66a182", "#8d96a3"]
LEFT, WIDTH, BAR, GAP = 190, 520, 16, 22


def bars(title, groups):
    """groups: [(name, [(label, value)])]; a label has one color everywhere; bars of a group share a scale."""
    labels = list(dict.fromkeys(label for _, items in groups for label, _ in items))
    parts, y = [], 34
    for name, items in groups:
        y += GAP
        parts.append(f'<text x="8" y="{y}" font-weight="bold">{escape(name)}</text>')
        y += 6
        most = max((value for _, value in items), default=0) or 1
        for label, value in items:
            width = WIDTH * value / most
            parts.append(f'<text x="{LEFT - 6}" y="{y + BAR - 4}" text-anchor="end">{escape(label)}</text>')
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" '
                         f'fill="{COLORS[labels.index(label) % len(COLORS)]}"/>')
            parts.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + BAR - 4}">{value:.1f}</text>')
            y += BAR
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 90}" height="{y + 14}" '
            'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            f'<text x="8" y="22" font-size="15">{escape(title)}</text>\n' + "\n".join(parts) + "\n</svg>\n")
