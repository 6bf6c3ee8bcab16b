// Draws the figures that the page carries; paper is narrower than the window, so print draws them anew.
const figures = JSON.parse(document.getElementById("figures").textContent);
const options = { responsive: true, displayModeBar: false };
const drawn = figures.map((figure) => Plotly.newPlot(figure.id, figure.data, figure.layout, options));
Promise.all(drawn).then((plots) => { document.documentElement.dataset.drawn = plots.length; });
const resize = (layout) => figures.forEach((figure) => Plotly.relayout(figure.id, layout));
window.addEventListener("beforeprint", () => resize({ width: 660, autosize: false }));
window.addEventListener("afterprint", () => resize({ width: null, autosize: true }));
