// A server and a clock that a test moves: evaluated in a page before it joins. Timers of less than a second stay real.
(() => {
  let now = Date.now();
  let nextTimer = 1e9;
  const timers = new Map();
  const real = { set: window.setTimeout, clear: window.clearTimeout };
  Date.now = () => now;
  window.setTimeout = (callback, delay) => {
    if (!(delay >= 1000)) {
      return real.set.call(window, callback, delay);
    }
    nextTimer += 1;
    timers.set(nextTimer, { callback, at: now + delay });
    return nextTimer;
  };
  window.clearTimeout = (timer) => {
    if (!timers.delete(timer)) {
      real.clear.call(window, timer);
    }
  };
  /** Lets time pass, and runs the timers that are due, the first one first. */
  window.pass = (time) => {
    const end = now + time;
    for (;;) {
      const due = [...timers].filter(([, { at }]) => at <= end).sort(([, one], [, other]) => one.at - other.at)[0];
      if (!due) {
        break;
      }
      const [timer, { callback, at }] = due;
      timers.delete(timer);
      now = Math.max(now, at);
      callback();
    }
    now = end;
  };
  /** All sockets so far, the newest one last. */
  window.sockets = [];
  window.WebSocket = class extends EventTarget {
    static CONNECTING = 0;
    static OPEN = 1;
    readyState = 0;
    sent = [];
    constructor() {
      super();
      window.sockets.push(this);
    }
    send(line) {
      this.sent.push(line);
    }
    close() {
      this.readyState = 3;
    }
    open() {
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
    }
    receive(...lines) {
      this.dispatchEvent(new MessageEvent("message", { data: lines.map((line) => `${line}\n`).join("") }));
    }
    /** Opens, and lets the page join. */
    accept() {
      this.open();
      this.receive("Welcome! Use the command:", "JOIN <ROOMNAME> <USERNAME>", "bob has joined");
    }
    end(code, ...lines) {
      this.receive(...lines);
      this.readyState = 3;
      this.dispatchEvent(new CloseEvent("close", { code }));
    }
  };
  Object.defineProperty(window, "newest", { get: () => window.sockets.at(-1) });
})();
