"use strict";
// Draws the charts of a report, which is in the constant of that name.

const colors = ["#1565c0", "#2a8c4a", "#e65100", "#6a1b9a", "#c62828", "#00838f", "#827717", "#5d4037"];
const grid = { stroke: "#eee", width: 1 };

// chart draws series of [x, y...] into the element with that id.
function chart(id, data, options) {
  const element = document.getElementById(id);
  const draw = new uPlot({
    width: element.clientWidth,
    height: options.height || 260,
    scales: { x: { time: false, range: options.x, distr: options.logarithmic ? 3 : 1 }, y: { range: options.y || ((u, low, high) => [0, Math.max(1, high * 1.05)]) } },
    axes: [
      { label: options.xLabel, grid, labelSize: 22, space: 40 },
      { label: options.yLabel, grid, labelSize: 22, size: 60 },
    ],
    series: [{ label: options.xLabel }].concat(options.series),
  }, data, element);
  window.addEventListener("resize", () => draw.setSize({ width: element.clientWidth, height: options.height || 260 }));
}

const seconds = report.seconds.map((_, i) => i);
const stepped = uPlot.paths.stepped({ align: 1 });
const bars = uPlot.paths.bars({ align: 1, size: [0.9] });
const overTime = { xLabel: "seconds", x: [0, Math.max(1, seconds.length)] };

chart("throughput", [seconds, report.seconds.map(s => s.offered), report.seconds.map(s => s.landed)], {
  ...overTime, yLabel: "transfers/s", height: 300,
  series: [
    { label: "offered", stroke: colors[0], width: 2, paths: stepped, points: { show: false } },
    { label: "landed", stroke: colors[1], width: 2, paths: stepped, fill: "#2a8c4a22", points: { show: false } },
  ],
});

// A distribution for each step and level, all on one scale.
const levels = ["recorded", "confirmed", "executed"];
const curvesOf = level => report.steps.map(s => s.latency_ms[level].cdf);
const longest = Math.max(11, ...levels.flatMap(curvesOf).map(c => c.length ? c[c.length - 1][0] : 0));
const logarithmic = longest > 5000;

for (const level of levels) {
  const curves = curvesOf(level);
  const tables = curves.map(c => [c.map(p => Math.max(1, p[0])), c.map(p => 100 * p[1])]);
  const data = tables.some(t => t[0].length) ? uPlot.join(tables) : [[1], ...tables.map(() => [null])];
  chart(level, data, {
    xLabel: level + " after ms", yLabel: "% of transfers", x: [logarithmic ? 10 : 0, longest], y: [0, 100], logarithmic,
    series: report.steps.map((s, k) => ({
      label: s.rate + "/s", stroke: colors[k % colors.length], width: 2, spanGaps: true, points: { show: curves[k].length < 2 },
    })),
  });
}

if (report.seconds.some(s => s.lag !== undefined)) {
  chart("lag", [seconds, report.seconds.map(s => s.lag)], {
    ...overTime, yLabel: "blocks", height: 180,
    series: [{ label: "lag", stroke: colors[3], width: 2, paths: stepped, points: { show: false } }],
  });
} else {
  document.getElementById("lag").textContent = "Not known in this run.";
}

chart("skipped", [seconds, report.seconds.map(s => s.skipped_slots)], {
  ...overTime, yLabel: "slots", height: 180,
  series: [{ label: "skipped", stroke: colors[4], fill: colors[4], paths: bars, points: { show: false } }],
});
