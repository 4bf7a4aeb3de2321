/** The zones in force, drawn by layer. They change seldom: asked for once a minute. */

const ASK_MS = 60000;
/** By layer, from 1 on. */
const COLOURS = ["#ff6b6b", "#ffb86b", "#6bb5ff", "#b79cff", "#7fe0b0"];

export const colourOf = (layer) => COLOURS[(layer - 1) % COLOURS.length];

export class Zones {
  constructor(changed) {
    Object.assign(this, { changed, layers: new Map(), shown: new Set() });
  }

  open() {
    this.close();
    const round = () => this.ask().catch(() => {}).finally(() => { this.timer = setTimeout(round, ASK_MS); });
    round();
  }

  close() {
    clearTimeout(this.timer);
  }

  forget() {
    this.close();
    this.layers = new Map();
    this.changed();
  }

  async ask() {
    const layers = new Map();
    for (let next = ""; next !== null;) {
      const answer = await fetch(`/v1/zones?limit=1000${next && `&next=${encodeURIComponent(next)}`}`);
      if (!answer.ok) return;
      const page = await answer.json();
      for (const { geometry, properties } of page.features) {
        if (!layers.has(properties.layer)) layers.set(properties.layer, { count: 0, rings: [] });
        const layer = layers.get(properties.layer);
        layer.count += 1;
        layer.rings.push(...outlines(geometry, properties.radius_m));
      }
      next = page.next;
    }
    // The highest layer is there from the beginning; the others would cover the units.
    if (this.layers.size === 0 && layers.size > 0) this.shown.add(Math.min(...layers.keys()));
    this.layers = new Map([...layers].sort(([a], [b]) => a - b));
    this.changed();
  }

  draw(pen, toScreen) {
    pen.lineWidth = devicePixelRatio;
    // Layer 1 lies on top.
    for (const [layer, { rings }] of [...this.layers].reverse()) {
      if (!this.shown.has(layer)) continue;
      pen.strokeStyle = colourOf(layer);
      pen.beginPath();
      for (const ring of rings) {
        ring.forEach((place, at) => {
          const [x, y] = toScreen(place);
          if (at === 0) pen.moveTo(x, y);
          else pen.lineTo(x, y);
        });
      }
      pen.stroke();
    }
  }
}

/** The rings of a geometry; a circle as 48 corners. */
function outlines(geometry, radius) {
  if (geometry?.type === "Polygon") return geometry.coordinates;
  if (geometry?.type === "MultiPolygon") return geometry.coordinates.flat();
  if (geometry?.type !== "Point") return [];
  const [lon, lat] = geometry.coordinates;
  const reach = radius / 111195;
  const corner = (at) => [lon + reach * Math.cos(at * Math.PI / 24) / Math.cos(lat * Math.PI / 180), lat + reach * Math.sin(at * Math.PI / 24)];
  return [Array.from({ length: 49 }, (_, at) => corner(at))];
}
