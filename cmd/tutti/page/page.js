"use strict";
// Draws the charts of a page, which are in the constant drawn by the elements'
// ids.

const colors = ["#1565c0", "#e65100", "#2a8c4a", "#6a1b9a", "#c62828", "#00838f", "#827717", "#5d4037"];
const grid = { stroke: "#eee", width: 1 };

for (const [id, chart] of Object.entries(drawn)) {
  const element = document.getElementById(id);
  const tables = chart.series.map(s => [s.points.map(p => p[0]), s.points.map(p => p[1])]);
  const few = Math.max(...chart.series.map(s => s.points.length)) < 20;
  const draw = new uPlot({
    width: element.clientWidth,
    height: 320,
    scales: { x: { time: false, distr: chart.log_x ? 3 : 1 }, y: chart.log_y ? { distr: 3 } : { range: (u, low, high) => [Math.min(0, low), high * 1.05 || 1] } },
    axes: [{ label: chart.x, grid, ...(chart.log_x ? { splits: () => tables[0][0], values: (u, at) => at, filter: (u, at) => at } : {}) }, { label: chart.y, grid, size: 70 }],
    series: [{ label: chart.x }].concat(chart.series.map((s, i) => ({
      label: s.name, stroke: colors[i % colors.length], width: 2, spanGaps: true, points: { show: few },
    }))),
  }, uPlot.join(tables), element);
  window.addEventListener("resize", () => draw.setSize({ width: element.clientWidth, height: 320 }));
}
