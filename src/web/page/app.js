"use strict";

// The page of a Roomcast server: the lines of a chat over WebSocket, as clients of a plain socket get them. Text from the
// server goes into the page through textContent alone.

(() => {
  /** The most lines in the page, and of those that wait to be shown: more could not be read. */
  const MAX_LINES = 2000;
  /** The most lines that are added for one frame of the screen. */
  const LINES_PER_FRAME = 250;
  /** From so many lines in one addition on a screen reader is told their number alone. */
  const FLOOD = 20;
  const LONGEST_DELAY = 30_000;
  /** A connection that lasted for so long is a good one: the next delay is short again. */
  const STABLE_AFTER = 5_000;
  /** How long a lost seat in the room may keep the name. */
  const NAME_WAIT = 90_000;
  const PROBE_TIMEOUT = 5_000;
  const MAX_INPUT_HISTORY = 100;

  const $ = (id) => document.getElementById(id);
  const log = $("log");
  const input = $("text");
  const store = (() => {
    try {
      localStorage.setItem("roomcast.test", "1");
      return { long: localStorage, tab: sessionStorage };
    } catch {
      const none = { getItem: () => null, setItem() {}, removeItem() {} };
      return { long: none, tab: none };
    }
  })();

  /** The place in a room that the user wants; null before the first join and after leaving. */
  let seat = null;
  let socket = null;
  /** "joining", "joined" or null. */
  let phase = null;
  let attempts = 0;
  let retryTimer = 0;
  let stableTimer = 0;
  let countdownTimer = 0;
  let probeTimer = 0;
  /** The server's reason for the close that follows. */
  let reason = null;
  let expectsReason = false;
  let lostAt = 0;
  /** Names of members, with the time of their last line. */
  const members = new Map();
  /** Answers to /who that the page itself has asked for. */
  let quietAnswers = 0;
  /** The numbering of the room's lines and the last number, to go on after a lost connection. */
  let numbering = null;
  let lastId = 0;
  /** Lines that came before the answer about what was missed; null when none is awaited. */
  let held = null;
  let unread = 0;
  const waiting = [];
  let renderTimer = 0;
  let presence = null;
  const typed = [];
  let typedAt = 0;

  // ---- showing lines

  const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

  /** Adds a line: { kind, name, text, missed }. */
  function show(line) {
    line.time = line.missed ? "" : timeFormat.format(new Date());
    waiting.push(line);
    if (waiting.length > 2 * MAX_LINES) {
      waiting.splice(0, waiting.length - MAX_LINES);
    }
    schedule();
  }

  function schedule() {
    if (renderTimer === 0) {
      // A hidden tab draws no frame.
      renderTimer = document.hidden ? setTimeout(render, 300) : requestAnimationFrame(render);
    }
  }

  function render() {
    renderTimer = 0;
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (waiting.length > MAX_LINES) {
      waiting.splice(0, waiting.length - MAX_LINES);
    }
    const lines = waiting.splice(0, LINES_PER_FRAME);
    announceFlood(lines.length);
    const fragment = document.createDocumentFragment();
    for (const line of lines) {
      const element = line.kind === "presence" ? presenceElement(line) : lineElement(line);
      if (element) {
        fragment.append(element);
      }
    }
    log.append(fragment);
    for (let extra = log.childElementCount - MAX_LINES; extra > 0; extra--) {
      log.firstElementChild.remove();
    }
    if (isAtEnd) {
      log.scrollTop = log.scrollHeight;
    } else if (lines.some((line) => line.kind !== "presence")) {
      $("jump").hidden = false;
    }
    if (waiting.length > 0) {
      schedule();
    }
  }

  let floodLines = 0;
  let floodTimer = 0;

  /** Tells a screen reader the number of lines where there are too many to read. */
  function announceFlood(count) {
    if (count >= FLOOD || floodTimer !== 0) {
      log.setAttribute("aria-live", "off");
      floodLines += count;
      clearTimeout(floodTimer);
      floodTimer = setTimeout(() => {
        floodTimer = 0;
        log.setAttribute("aria-live", "polite");
        setStatus(`${floodLines} new messages`);
        floodLines = 0;
      }, 1500);
    }
  }

  function lineElement(line) {
    presence = null;
    const element = document.createElement("p");
    const body = document.createElement("span");
    if (line.name) {
      const name = document.createElement("b");
      name.textContent = line.kind === "action" ? `* ${line.name} ` : `${line.name}: `;
      body.append(name);
    }
    body.append(line.text);
    const time = document.createElement("time");
    time.setAttribute("aria-hidden", "true");
    time.textContent = line.missed ? "missed" : line.time;
    element.append(body, time);
    element.classList.add(line.kind);
    if (line.name && seat && same(line.name, seat.name)) {
      element.classList.add("own");
    } else if (line.name && mentionsMe(line.text)) {
      element.classList.add("mention");
    }
    return element;
  }

  /** Folds joins and leaves that follow each other into one line; returns it if it is new. */
  function presenceElement(line) {
    const isNew = presence === null;
    if (isNew) {
      presence = { element: document.createElement("p"), joined: [], left: [], other: [] };
      presence.element.className = "presence";
    }
    const { joined, left } = presence;
    if (line.change === "joined") {
      joined.push(line.name);
    } else if (joined.includes(line.name)) {
      joined.splice(joined.indexOf(line.name), 1);
    } else {
      left.push(line.name);
    }
    const list = (names, verb) => {
      const shown = names.length > 8 ? `${names.slice(0, 8).join(", ")} and ${names.length - 8} more` : names.join(", ");
      return names.length > 0 ? `${shown} ${verb}` : "";
    };
    const text = [list(joined, "joined"), list(left, "left")].filter(Boolean).join("; ");
    presence.element.textContent = text || "somebody came and went";
    return isNew ? presence.element : null;
  }

  /** The rule of the server for the names of rooms and members. */
  const isName = (text) => /^[!-~]{1,20}$/.test(text);

  const same = (one, other) => one.toLowerCase() === other.toLowerCase();

  function mentionsMe(text) {
    if (!seat) {
      return false;
    }
    const own = seat.name.toLowerCase();
    const lower = text.toLowerCase();
    const isWord = (character) => character !== undefined && /[\p{L}\p{N}_]/u.test(character);
    for (let at = lower.indexOf(own); at !== -1; at = lower.indexOf(own, at + 1)) {
      if (!isWord(lower[at - 1]) && !isWord(lower[at + own.length])) {
        return true;
      }
    }
    return false;
  }

  // ---- what the server says

  function onLine(line) {
    if (phase === "joining") {
      onLoginLine(line);
    } else if (expectsReason) {
      expectsReason = false;
      reason = line;
    } else if (line === "ERROR") {
      expectsReason = true;
    } else if (line.startsWith("*** ")) {
      onReply(line.slice(4));
    } else if (held !== null) {
      held.push(line);
    } else {
      onRoomLine(line);
    }
  }

  function onLoginLine(line) {
    if (expectsReason) {
      expectsReason = false;
      reason = line;
    } else if (line === "ERROR") {
      expectsReason = true;
    } else if (line.endsWith(" has joined") && same(line.slice(0, -11), seat.name)) {
      onJoined();
    } else if (line.startsWith("*** ") && numbering === null) {
      show({ kind: "server", text: line.slice(4) });
    }
  }

  function onJoined() {
    phase = "joined";
    seat.hasJoined = true;
    reason = null;
    lostAt = 0;
    store.tab.setItem("roomcast.joined", "1");
    setStatus("connected");
    members.clear();
    members.set(seat.name, Date.now());
    if (numbering === null) {
      show({ kind: "server", text: `You are in ${seat.room}. The address of this page is the link to it.` });
      sendLine("/ids on");
    } else {
      held = [];
      sendLine(`/ids ${numbering} ${lastId}`);
    }
    askWho();
    stableTimer = setTimeout(() => { attempts = 0; }, STABLE_AFTER);
    input.focus({ preventScroll: true });
  }

  function askWho() {
    quietAnswers += 1;
    sendLine("/who");
  }

  function onReply(text) {
    clearTimeout(probeTimer);
    let match;
    if ((match = /^ids is on: numbering (\S+), next line #(\d+)$/.exec(text))) {
      onNumbering(match[1], Number(match[2]));
    } else if ((match = /^#(\d+) (.*)$/s.exec(text)) && held !== null) {
      onTalk(match[2], Number(match[1]), true);
    } else if ((match = /^(\d+) in (\S+): (.*)$/.exec(text)) && quietAnswers > 0) {
      quietAnswers -= 1;
      for (const name of match[3].split(", ")) {
        if (!/\s/.test(name) && !members.has(name)) {
          members.set(name, 0);
        }
      }
      showMembers();
    } else if ((match = /^(\S+) whispers: (.*)$/s.exec(text))) {
      show({ kind: "whisper", name: match[1], text: `(to you) ${match[2]}` });
      onAttention(match[1], match[2]);
    } else if ((match = /^you whisper to (\S+): (.*)$/s.exec(text))) {
      show({ kind: "whisper", name: seat.name, text: `(to ${match[1]}) ${match[2]}` });
    } else if (/^[\d,]+ lines? skipped$/.test(text)) {
      show({ kind: "gap", text: `You were skipped ${text.replace(" skipped", "")}: they came faster than this page could read.` });
    } else if ((match = /^(\d+) lines? before #\d+ (?:is|are) gone/.exec(text))) {
      show({ kind: "gap", text: `${match[1]} lines were said while you were away, and are gone.` });
    } else {
      show({ kind: "server", text });
    }
  }

  /** The lines have numbers from now on, and what was missed has been told. */
  function onNumbering(now, next) {
    const before = held ?? [];
    const isContinued = now === numbering;
    if (numbering !== null && !isContinued) {
      show({ kind: "gap", text: "The room was opened anew: lines that were said while you were away may be missing." });
    }
    held = null;
    for (const line of before) {
      // What was said before the answer is a part of it.
      if (!isContinued || isNotice(line)) {
        onRoomLine(line);
      }
    }
    numbering = now;
    lastId = next - 1;
  }

  const isNotice = (line) => /^\S+ (?:has joined|has left|is now known as \S+)$/.test(line);

  function onRoomLine(line) {
    // Notices first: a member may be called #7.
    let match;
    if ((match = /^(\S+) has (joined|left)$/.exec(line))) {
      onPresence(match[1], match[2]);
    } else if ((match = /^(\S+) is now known as (\S+)$/.exec(line))) {
      onRename(match[1], match[2]);
    } else if ((match = /^#(\d+) (.*)$/s.exec(line))) {
      onTalk(match[2], Number(match[1]), false);
    } else {
      onTalk(line, null, false);
    }
  }

  function onTalk(line, id, missed) {
    if (id !== null) {
      if (id <= lastId) {
        return;
      }
      lastId = id;
    }
    const match = /^\* (\S+) (.*)$/s.exec(line) ?? /^(\S+): (.*)$/s.exec(line);
    if (!match) {
      show({ kind: "server", text: line });
      return;
    }
    const [, name, text] = match;
    members.set(name, Date.now());
    show({ kind: line.startsWith("* ") ? "action" : "talk", name, text, missed });
    if (!same(name, seat.name)) {
      countUnread();
      if (mentionsMe(text)) {
        onAttention(name, text);
      }
    }
  }

  function onPresence(name, change) {
    if (change === "joined") {
      members.set(name, members.get(name) ?? 0);
    } else {
      members.delete(name);
    }
    show({ kind: "presence", name, change });
    showMembers();
  }

  function onRename(from, to) {
    const activity = members.get(from) ?? 0;
    members.delete(from);
    members.set(to, activity);
    if (same(from, seat.name)) {
      seat.name = to;
      store.long.setItem("roomcast.name", to);
    }
    show({ kind: "server", text: `${from} is now known as ${to}` });
    showMembers();
  }

  // ---- who is here

  let membersTimer = 0;

  function showMembers() {
    if (membersTimer === 0) {
      membersTimer = setTimeout(renderMembers, 200);
    }
  }

  function renderMembers() {
    membersTimer = 0;
    $("count").textContent = String(members.size);
    const names = [...members.keys()].sort((one, other) => one.localeCompare(other)).slice(0, 500);
    const items = names.map((name) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.title = `Mention ${name}`;
      button.addEventListener("click", () => insertName(name));
      item.append(button);
      return item;
    });
    // The list is made anew: who walks through it with the keyboard stays at the same name.
    const list = $("names");
    const focused = list.contains(document.activeElement) ? document.activeElement.textContent : null;
    list.replaceChildren(...items);
    if (focused !== null) {
      const again = items[names.indexOf(focused)] ?? items[0];
      again?.firstElementChild.focus();
    }
  }

  // ---- attention

  function countUnread() {
    if (document.hidden) {
      unread += 1;
      showTitle();
    }
  }

  function showTitle() {
    const room = seat ? `${seat.room} – Roomcast` : "Roomcast";
    document.title = unread > 0 ? `(${unread}) ${room}` : room;
  }

  function onAttention(name, text) {
    if (document.hidden && notifies()) {
      // A phone's browser may forbid notifications of a page.
      try {
        new Notification(`${name} in ${seat.room}`, { body: text.slice(0, 200), tag: "roomcast" });
      } catch { /* The title has the number. */ }
    }
  }

  const notifies = () => $("notify").getAttribute("aria-pressed") === "true";

  async function toggleNotifications() {
    const isOn = !notifies() && (await Notification.requestPermission()) === "granted";
    $("notify").setAttribute("aria-pressed", String(isOn));
    if (!isOn && Notification.permission === "denied") {
      setStatus("notifications are blocked in the browser's settings", true);
    }
  }

  // ---- the connection

  function connect() {
    clearTimeout(retryTimer);
    clearInterval(countdownTimer);
    phase = "joining";
    expectsReason = false;
    held = null;
    quietAnswers = 0;
    setStatus("connecting…");
    const url = `${location.protocol === "https:" ? "wss" : "ws"}:` + `//${location.host}/ws`;
    const own = new WebSocket(url, ["roomcast.1"]);
    socket = own;
    own.addEventListener("open", () => own.send(`JOIN ${seat.room} ${seat.name}`));
    own.addEventListener("message", (event) => {
      if (socket === own && typeof event.data === "string") {
        for (const line of event.data.split("\n").slice(0, -1)) {
          onLine(line);
        }
      }
    });
    own.addEventListener("close", (event) => {
      if (socket === own) {
        onClose(event.code);
      }
    });
  }

  function disconnect() {
    clearTimeout(retryTimer);
    clearTimeout(stableTimer);
    clearTimeout(probeTimer);
    clearInterval(countdownTimer);
    const old = socket;
    socket = null;
    phase = null;
    if (old) {
      old.close(1000);
    }
  }

  function onClose(code) {
    const told = reason;
    reason = null;
    disconnect();
    lostAt = lostAt || Date.now();
    const isTaken = told !== null && /^the name \S+ is taken/.test(told);
    const isTemporary = told === null
      ? code !== 1000
      : /server is (?:full|shutting down)|^the server is shutting down|made way|memory|has failed/.test(told)
        || code === 1013 || code === 1001 || code === 1012;
    const waitsForName = isTaken && seat.hasJoined && Date.now() - lostAt < NAME_WAIT;
    if (seat.hasJoined && (isTemporary || waitsForName)) {
      retry(told);
    } else {
      leave(told ?? (seat.hasJoined ? "You have left the room." : "The server can't be reached, or is full: try again."));
    }
  }

  /** Connects again after a delay with full jitter, so that the clients of a server that starts do not come together. */
  function retry(told) {
    const delay = Math.random() * Math.min(LONGEST_DELAY, 1000 * 2 ** attempts);
    attempts += 1;
    const until = Date.now() + delay;
    const tell = () => {
      const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
      setStatus(`${told ?? "connection lost"}; trying again${seconds > 0 ? ` in ${seconds} s` : ""}`, true);
    };
    tell();
    countdownTimer = setInterval(tell, 1000);
    retryTimer = setTimeout(connect, delay);
  }

  /** Connects at once if the connection is lost, and looks whether it is where it seems not to be. */
  function comeBack() {
    if (!seat) {
      return;
    }
    if (!socket) {
      connect();
    } else if (phase === "joined") {
      clearTimeout(probeTimer);
      probeTimer = setTimeout(() => {
        if (socket) {
          socket.close();
          onClose(1006);
        }
      }, PROBE_TIMEOUT);
      askWho();
    }
  }

  function sendLine(line) {
    if (socket && socket.readyState === WebSocket.OPEN && phase === "joined") {
      socket.send(line);
      return true;
    }
    return false;
  }

  function setStatus(text, isProblem = false) {
    $("status").textContent = text;
    $("status").classList.toggle("problem", isProblem);
  }

  // ---- joining and leaving

  /** Joins a room. Both go into one line for the server, so neither may hold a blank or a line's end. */
  function join(room, name) {
    if (!isName(room) || !isName(name)) {
      return;
    }
    disconnect();
    seat = { room, name, hasJoined: false };
    numbering = null;
    lastId = 0;
    attempts = 0;
    lostAt = 0;
    members.clear();
    store.long.setItem("roomcast.room", room);
    store.long.setItem("roomcast.name", name);
    history.replaceState(null, "", `#${encodeURIComponent(room)}`);
    log.replaceChildren();
    waiting.length = 0;
    presence = null;
    $("room-name").textContent = room;
    $("join-error").hidden = true;
    $("login").hidden = true;
    $("chat").hidden = false;
    $("notify").hidden = !("Notification" in window);
    showTitle();
    connect();
  }

  function leave(told) {
    if (phase === "joined") {
      sendLine("/quit");
    }
    disconnect();
    seat = null;
    unread = 0;
    showTitle();
    store.tab.removeItem("roomcast.joined");
    $("chat").hidden = true;
    $("login").hidden = false;
    $("join-error").textContent = told ?? "";
    $("join-error").hidden = !told;
    $("name").focus();
  }

  // ---- the user's input

  function say(text) {
    const line = text.replace(/[\r\n]+/g, " ");
    if (line.trim() === "") {
      return;
    }
    const match = /^\/(?:join|j)\s+(\S+)(?:\s+(\S+))?\s*$/i.exec(line);
    if (match && match[1] !== seat.room) {
      join(match[1], match[2] ?? seat.name);
      return;
    }
    if (!sendLine(line)) {
      setStatus("not sent: there is no connection", true);
      return;
    }
    if (typed[typed.length - 1] !== line) {
      typed.push(line);
      typed.splice(0, typed.length - MAX_INPUT_HISTORY);
    }
    typedAt = typed.length;
    completion = null;
    input.value = "";
    log.scrollTop = log.scrollHeight;
  }

  function recall(step) {
    const at = Math.min(typed.length, Math.max(0, typedAt + step));
    if (at !== typedAt) {
      typedAt = at;
      input.value = typed[at] ?? "";
      input.setSelectionRange(input.value.length, input.value.length);
    }
  }

  let completion = null;

  /** Completes the word before the cursor with the name of a member, of those that spoke last first; returns false if none
      fits. */
  function complete() {
    const caret = input.selectionStart;
    if (completion === null || completion.value !== input.value || completion.caret !== caret) {
      const start = input.value.slice(0, caret).search(/\S*$/);
      const word = input.value.slice(start, caret).replace(/^@/, "").toLowerCase();
      const names = [...members].filter(([name]) => name.toLowerCase().startsWith(word) && !same(name, seat.name));
      names.sort(([one, activity], [other, otherActivity]) => otherActivity - activity || one.localeCompare(other));
      completion = { start, rest: input.value.slice(caret), names: names.map(([name]) => name), next: 0 };
    }
    const { start, rest, names, next } = completion;
    if (names.length === 0) {
      completion = null;
      return false;
    }
    const word = names[next] + (start === 0 ? ": " : " ");
    input.value = input.value.slice(0, start) + word + rest;
    const caretNow = start + word.length;
    input.setSelectionRange(caretNow, caretNow);
    Object.assign(completion, { next: (next + 1) % names.length, value: input.value, caret: caretNow });
    return true;
  }

  function insertName(name) {
    const before = input.value.slice(0, input.selectionStart);
    const after = input.value.slice(input.selectionEnd);
    const word = before === "" ? `${name}: ` : `${before.endsWith(" ") ? "" : " "}${name} `;
    input.value = before + word + after;
    input.focus();
    input.setSelectionRange(before.length + word.length, before.length + word.length);
    showPeople(false);
  }

  function showPeople(isOpen) {
    $("people").classList.toggle("open", isOpen);
    $("people-button").setAttribute("aria-expanded", String(isOpen));
  }

  // ---- events

  $("join").addEventListener("submit", (event) => {
    event.preventDefault();
    join($("room").value.trim(), $("name").value.trim());
  });
  $("say").addEventListener("submit", (event) => {
    event.preventDefault();
    say(input.value);
  });
  $("leave").addEventListener("click", () => leave());
  $("notify").addEventListener("click", toggleNotifications);
  $("complete").addEventListener("click", () => {
    input.focus();
    complete();
  });
  $("people-button").addEventListener("click", () => showPeople(!$("people").classList.contains("open")));
  $("jump").addEventListener("click", () => {
    log.scrollTop = log.scrollHeight;
    $("jump").hidden = true;
    input.focus();
  });
  log.addEventListener("scroll", () => {
    if (log.scrollHeight - log.scrollTop - log.clientHeight < 40) {
      $("jump").hidden = true;
    }
  }, { passive: true });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    if (event.key === "Tab" && !event.shiftKey && input.value.trim() !== "") {
      // Without a name that fits the key goes on to the next control.
      if (complete()) {
        event.preventDefault();
      }
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      event.preventDefault();
      recall(event.key === "ArrowUp" ? -1 : 1);
    } else if (event.key === "Escape") {
      showPeople(false);
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      unread = 0;
      showTitle();
      comeBack();
      if (waiting.length > 0) {
        clearTimeout(renderTimer);
        renderTimer = 0;
        schedule();
      }
    }
  });
  window.addEventListener("online", comeBack);
  window.addEventListener("offline", () => {
    if (seat) {
      setStatus("this device is offline", true);
    }
  });
  window.addEventListener("hashchange", () => {
    const room = roomOfLink();
    if (room && (!seat || room !== seat.room)) {
      if (seat) {
        join(room, seat.name);
      } else {
        $("room").value = room;
      }
    }
  });

  /** Returns the room of the page's address, which any other page may have written; "" if it can be no room's name. */
  function roomOfLink() {
    try {
      const room = decodeURIComponent(location.hash.slice(1));
      return isName(room) ? room : "";
    } catch {
      return "";
    }
  }

  $("room").value = roomOfLink() || store.long.getItem("roomcast.room") || "lobby";
  $("name").value = store.long.getItem("roomcast.name") ?? "";
  if (store.tab.getItem("roomcast.joined") && $("name").value !== "") {
    join($("room").value, $("name").value);
  } else {
    $("name").focus();
  }
})();
