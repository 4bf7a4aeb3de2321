/** What a dispatcher must hear of, told as it comes. The stream resumes by itself after the last number that was heard. */

const KINDS = ["emergency_raised", "emergency_seen", "emergency_cleared", "gateway_lost", "gateway_found", "strength_below", "strength_restored", "beat_left", "beat_joined", "overstay", "split", "standing", "gap"];
const SHOWN = 12;
const AGAIN_MS = 5000;

export class Events {
  /** `words` gives the words of the language that is spoken now. */
  constructor(panel, words) {
    Object.assign(this, { panel, words, newest: [], ringing: new Map(), seen: new Set(), stream: null, after: null });
  }

  open() {
    this.close();
    this.askRinging().catch(() => {});
    const after = this.after === null ? "" : `&after=${this.after}`;
    this.stream = new EventSource(`/v1/events?kind=${KINDS.join(",")}${after}`);
    for (const kind of KINDS) this.stream.addEventListener(kind, ({ data, lastEventId }) => this.take(JSON.parse(data), lastEventId));
    // A browser gives up on a refusal; a server that stops and comes back is asked again.
    this.stream.addEventListener("error", () => {
      if (this.stream?.readyState === EventSource.CLOSED) this.timer = setTimeout(() => this.open(), AGAIN_MS);
    });
  }

  /** What rang before the stream began. */
  async askRinging() {
    const answer = await fetch("/v1/emergencies");
    if (!answer.ok) return;
    for (const { emergency, unit, device, pressed_at, received_at, seen_by } of (await answer.json()).emergencies) {
      this.ringing.set(emergency, { kind: "emergency_raised", time: pressed_at ?? received_at, unit, detail: { emergency, device, by: seen_by } });
      if (seen_by) this.seen.add(emergency);
    }
    this.show();
  }

  close() {
    clearTimeout(this.timer);
    this.stream?.close();
    this.stream = null;
  }

  /** Nothing that was told to one is shown to the next. */
  forget() {
    this.close();
    Object.assign(this, { newest: [], ringing: new Map(), seen: new Set(), after: null });
    this.show();
  }

  take(event, number) {
    this.after = Number(number);
    const emergency = event.detail?.emergency;
    if (event.kind === "emergency_raised") this.ringing.set(emergency, event);
    if (event.kind === "emergency_seen") this.seen.add(emergency);
    if (event.kind === "emergency_cleared") this.ringing.delete(emergency);
    if (event.kind !== "emergency_raised") this.newest = [event, ...this.newest].slice(0, SHOWN);
    this.show();
  }

  show() {
    // What rings stays on top, however much else happens.
    const lines = [...[...this.ringing.values()].reverse(), ...this.newest];
    this.panel.hidden = lines.length === 0;
    this.panel.querySelector("h2").textContent = this.words().events.title;
    this.panel.querySelector("ol").replaceChildren(...lines.map((event) => this.line(event)));
  }

  line(event) {
    const w = this.words().events;
    const line = document.createElement("li");
    line.className = event.kind;
    const time = Object.assign(document.createElement("time"), { textContent: new Date(event.time ?? Date.now()).toLocaleTimeString(document.documentElement.lang) });
    const about = [event.unit ?? event.detail?.device, event.zone, event.detail?.gateway, event.detail?.by, event.detail?.reason].filter(Boolean).join(" · ");
    line.append(time, ` ${w.kinds[event.kind] ?? event.kind} `, Object.assign(document.createElement("b"), { textContent: about }));
    const emergency = event.detail?.emergency;
    if (event.kind === "emergency_raised") {
      if (!this.seen.has(emergency)) line.append(this.button(w.see, () => this.handle(emergency, "seen")));
      line.append(this.button(w.clear, () => {
        const reason = prompt(w.why);
        if (reason) this.handle(emergency, "cleared", { reason });
      }));
    }
    return line;
  }

  button(textContent, done) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent });
    button.addEventListener("click", done);
    return button;
  }

  /** The event that follows takes the button away; a refusal says why. */
  async handle(emergency, step, body) {
    const headers = body ? { "content-type": "application/json" } : {};
    const answer = await fetch(`/v1/emergencies/${emergency}/${step}`, { method: "POST", headers, body: body && JSON.stringify(body) });
    if (!answer.ok) alert((await answer.json()).detail);
  }
}
