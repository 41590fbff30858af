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
  /** How long opening a connection and joining may take. */
  const CONNECT_TIMEOUT = 10_000;
  /** How long a line may stay without any answer before the connection is probed. */
  const ECHO_TIMEOUT = 10_000;
  /** How long a connection may be silent before it is probed. */
  const SILENCE = 45_000;
  /** Only for so long after the user's last action a silent connection is probed: a probe is a line, which would keep a user
      who is away from being idle for the server. */
  const ACTIVE_FOR = 300_000;
  /** How long lines wait for the answer about what was missed. */
  const RESUME_TIMEOUT = 10_000;
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
  let connectTimer = 0;
  let probeTimer = 0;
  let echoTimer = 0;
  let silenceTimer = 0;
  /** When the server sent something last, and when the user did something last. */
  let heardAt = 0;
  let activeAt = Date.now();
  /** The server's reason for the close that follows. */
  let reason = null;
  let expectsReason = false;
  /** When a new connection was told first that the name is taken; 0 if it was not. */
  let takenAt = 0;
  /** Names of members, with the time of their last line. */
  const members = new Map();
  /** The members whose names the server has not listed. */
  let unlisted = 0;
  /** Answers to /who that the page itself has asked for. */
  let quietAnswers = 0;
  /** The numbering of the room's lines and the last number, to go on after a lost connection. */
  let numbering = null;
  let lastId = 0;
  /** What has come since the page asked what it has missed; null when no answer is awaited. `held`: room lines that wait for
      the answer, or null when they wait no longer; `shown`: talk that was shown without waiting; `replay`: missed talk;
      `gone`: how many missed lines the server does not have; `from`: the number to ask from; `canAsk`: whether the page may
      ask once more. */
  let resume = null;
  let resumeTimer = 0;
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
    keepLast(waiting);
    schedule();
  }

  function schedule() {
    if (renderTimer === 0) {
      // A hidden tab draws no frame.
      renderTimer = document.hidden ? setTimeout(render, 300) : requestAnimationFrame(render);
    }
  }

  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;

  function render() {
    renderTimer = 0;
    const wasAtEnd = isAtEnd();
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
    if (wasAtEnd) {
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
    if (expectsReason) {
      expectsReason = false;
      reason = line;
    } else if (line === "ERROR") {
      expectsReason = true;
    } else if (phase === "joining") {
      onLoginLine(line);
    } else if (line.startsWith("*** ")) {
      onReply(line.slice(4));
    } else if (resume !== null) {
      onLineWhileResuming(line);
    } else {
      onRoomLine(line);
    }
  }

  function onLoginLine(line) {
    if (line.endsWith(" has joined") && same(line.slice(0, -11), seat.name)) {
      onJoined();
    } else if (line.startsWith("*** ") && !seat.hasJoined) {
      show({ kind: "server", text: line.slice(4) });
    }
  }

  function onJoined() {
    const isFirst = !seat.hasJoined;
    phase = "joined";
    clearTimeout(connectTimer);
    seat.hasJoined = true;
    reason = null;
    takenAt = 0;
    store.tab.setItem("roomcast.joined", "1");
    setStatus("connected");
    members.clear();
    members.set(seat.name, Date.now());
    unlisted = 0;
    if (isFirst) {
      show({ kind: "server", text: `You are in ${seat.room}. The address of this page is the link to it.` });
    }
    if (numbering === null) {
      sendLine("/ids on");
    } else {
      resume = { held: [], shown: [], replay: [], gone: 0, from: lastId, canAsk: true };
      askMissed();
    }
    askWho();
    onHeard();
    stableTimer = setTimeout(() => { attempts = 0; }, STABLE_AFTER);
    input.focus({ preventScroll: true });
  }

  function askWho() {
    quietAnswers += 1;
    sendLine("/who");
  }

  function onReply(text) {
    let match;
    if ((match = /^ids is on: numbering (\S+), next line #(\d+)$/.exec(text))) {
      onNumbering(match[1], Number(match[2]));
    } else if (/^ids is off: this server keeps no history/.test(text)) {
      endResume(false);
      numbering = null;
    } else if (resume !== null && (match = /^#\d+ (.*)$/s.exec(text))) {
      resume.replay.push(match[1]);
      keepLast(resume.replay);
    } else if (resume !== null && (match = /^(\d+) lines? before #\d+ (?:is|are) gone/.exec(text))) {
      resume.gone = Number(match[1]);
    } else if ((match = /^(\d+) in (\S+): (.*)$/.exec(text)) && quietAnswers > 0) {
      quietAnswers -= 1;
      onMembers(Number(match[1]), match[3]);
    } else if ((match = /^(\S+) whispers: (.*)$/s.exec(text))) {
      show({ kind: "whisper", name: match[1], text: `(to you) ${match[2]}` });
      onAttention(match[1], match[2]);
    } else if ((match = /^you whisper to (\S+): (.*)$/s.exec(text))) {
      show({ kind: "whisper", name: seat.name, text: `(to ${match[1]}) ${match[2]}` });
    } else if (/^[\d,]+ lines? skipped$/.test(text)) {
      // The answer about missed lines may be one of them.
      showHeld();
      show({ kind: "gap", text: `You were skipped ${text.replace(" skipped", "")}: they came faster than this page could read.` });
    } else {
      show({ kind: "server", text });
    }
  }

  // ---- what was missed

  function askMissed() {
    sendLine(`/ids ${numbering} ${resume.from}`);
    clearTimeout(resumeTimer);
    resumeTimer = setTimeout(onResumeTimeout, RESUME_TIMEOUT);
  }

  /** Shows what waits for an answer that is late or lost, and asks once more. */
  function onResumeTimeout() {
    if (resume === null) {
      return;
    }
    showHeld();
    if (resume.canAsk) {
      resume.canAsk = false;
      Object.assign(resume, { replay: [], gone: 0 });
      askMissed();
    }
  }

  function onLineWhileResuming(line) {
    if (resume.held === null) {
      showWhileResuming(line);
    } else if (resume.held.push(line) > MAX_LINES) {
      showHeld();
    }
  }

  function showHeld() {
    const lines = resume?.held ?? [];
    if (resume !== null) {
      resume.held = null;
    }
    lines.forEach(showWhileResuming);
  }

  /** Shows a room line, and keeps it if the answer about missed lines may hold it once more. */
  function showWhileResuming(line) {
    if (!isNotice(line)) {
      resume.shown.push(withoutId(line));
      keepLast(resume.shown);
    }
    onRoomLine(line);
  }

  function keepLast(lines) {
    if (lines.length > 2 * MAX_LINES) {
      lines.splice(0, lines.length - MAX_LINES);
    }
  }

  const withoutId = (line) => line.replace(/^#\d+ /, "");

  /** Ends the waiting for what was missed: shows missed lines and held ones in the order of the room, each once. */
  function endResume(isContinued) {
    clearTimeout(resumeTimer);
    if (resume === null) {
      return;
    }
    const { held, shown, replay, gone } = resume;
    resume = null;
    if (replay.length === 0) {
      held?.forEach(onRoomLine);
      return;
    }
    const notices = (held ?? []).filter(isNotice);
    const talk = (held ?? []).filter((line) => !isNotice(line));
    // The missed lines reach to the answer, so they end with the talk that came before it: as much of it as they hold.
    const received = [...shown, ...talk.map(withoutId)];
    const isKnown = new Array(replay.length).fill(false);
    let older = received.length;
    for (let at = replay.length - 1; at >= 0 && older > 0; at--) {
      if (replay[at] === received[older - 1]) {
        older -= 1;
        isKnown[at] = older < shown.length ? "shown" : "held";
      }
    }
    const heldBefore = talk.slice(0, Math.max(0, older - shown.length));
    if (isContinued && gone > older) {
      show({ kind: "gap", text: `${gone - older} lines were said while you were away, and are gone.` });
    }
    heldBefore.forEach(onRoomLine);
    replay.forEach((line, at) => {
      if (isKnown[at] !== "shown") {
        onTalk(line, null, isKnown[at] !== "held");
      }
    });
    notices.forEach(onRoomLine);
  }

  /** The lines have numbers from now on, and what was missed has been told. */
  function onNumbering(now, next) {
    if (numbering !== null && now !== numbering) {
      show({ kind: "gap", text: "The room was opened anew: lines that were said while you were away may be missing." });
    }
    endResume(now === numbering);
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
    if (!missed) {
      addMember(name, Date.now());
    }
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
    } else if (!members.delete(name)) {
      unlisted = Math.max(0, unlisted - 1);
    }
    show({ kind: "presence", name, change });
    showMembers();
  }

  function onRename(from, to) {
    const activity = members.get(from) ?? 0;
    if (!members.delete(from)) {
      unlisted = Math.max(0, unlisted - 1);
    }
    members.set(to, activity);
    if (same(from, seat.name)) {
      seat.name = to;
      store.long.setItem("roomcast.name", to);
    }
    show({ kind: "server", text: `${from} is now known as ${to}` });
    showMembers();
  }

  // ---- who is here

  /** Notes a member that is here for sure, listed or not. */
  function addMember(name, activity) {
    if (!members.has(name)) {
      unlisted = Math.max(0, unlisted - 1);
    }
    members.set(name, activity);
  }

  /** Takes the answer to /who: the number of members, and the names of some or of all. */
  function onMembers(total, list) {
    const names = list.split(", ").filter((name) => !/\s/.test(name));
    if (names.length === total) {
      const before = new Map(members);
      members.clear();
      names.forEach((name) => members.set(name, before.get(name) ?? 0));
    } else {
      names.forEach((name) => members.set(name, members.get(name) ?? 0));
    }
    unlisted = Math.max(0, total - members.size);
    showMembers();
  }

  let membersTimer = 0;

  function showMembers() {
    if (membersTimer === 0) {
      membersTimer = setTimeout(renderMembers, 200);
    }
  }

  function renderMembers() {
    membersTimer = 0;
    $("count").textContent = String(members.size + unlisted);
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
    resume = null;
    quietAnswers = 0;
    setStatus("connecting…");
    connectTimer = setTimeout(abandon, CONNECT_TIMEOUT);
    const url = `${location.protocol === "https:" ? "wss" : "ws"}:` + `//${location.host}/ws`;
    const own = new WebSocket(url, ["roomcast.1"]);
    socket = own;
    own.addEventListener("open", () => own.send(`JOIN ${seat.room} ${seat.name}`));
    own.addEventListener("message", (event) => {
      if (socket === own && typeof event.data === "string") {
        onHeard();
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
    for (const timer of [retryTimer, stableTimer, connectTimer, probeTimer, echoTimer, silenceTimer, resumeTimer]) {
      clearTimeout(timer);
    }
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
    const isTaken = told !== null && /^the name \S+ is taken/.test(told);
    if (isTaken) {
      takenAt = takenAt || Date.now();
    }
    const isIdle = told === null && code === 1008;
    const isTemporary = told === null
      ? code !== 1000 && !isIdle
      : /server is (?:full|shutting down)|^the server is shutting down|made way|memory|has failed/.test(told)
        || code === 1013 || code === 1001 || code === 1012;
    const waitsForName = isTaken && seat.hasJoined && Date.now() - takenAt < NAME_WAIT;
    if (seat.hasJoined && (isTemporary || waitsForName)) {
      retry(told);
    } else if (isIdle) {
      leave("You were idle for too long. Join again to come back.");
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
    } else if (phase === "joining" && socket.readyState === WebSocket.CONNECTING) {
      // Its packets may have gone to a network that is away by now.
      disconnect();
      connect();
    } else {
      probe();
    }
  }

  /** Asks the server something, and gives the connection up if nothing comes from it. */
  function probe() {
    if (phase === "joined") {
      clearTimeout(probeTimer);
      probeTimer = setTimeout(abandon, PROBE_TIMEOUT);
      askWho();
    }
  }

  /** Takes a connection for lost. Its own close may take the browser minutes. */
  function abandon() {
    if (socket) {
      onClose(1006);
    }
  }

  /** Notes that the connection works. */
  function onHeard() {
    heardAt = Date.now();
    for (const timer of [probeTimer, echoTimer, silenceTimer]) {
      clearTimeout(timer);
    }
    if (phase === "joined") {
      silenceTimer = setTimeout(() => {
        if (Date.now() - activeAt < ACTIVE_FOR) {
          probe();
        }
      }, SILENCE);
    }
  }

  /** Notes that the user is here, and probes a connection that nobody has probed while the user was away. */
  function onActive() {
    const wasAway = Date.now() - activeAt >= ACTIVE_FOR;
    activeAt = Date.now();
    if (wasAway && activeAt - heardAt >= SILENCE) {
      probe();
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
    takenAt = 0;
    members.clear();
    unlisted = 0;
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
    if (!runHere(line)) {
      if (!sendLine(line)) {
        setStatus("not sent: there is no connection", true);
        return;
      }
      clearTimeout(echoTimer);
      echoTimer = setTimeout(probe, ECHO_TIMEOUT);
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

  /** Runs a command that concerns the page; returns false for every other line. The server drops the same characters before
      a slash. */
  function runHere(line) {
    const match = /^[\s\p{C}\p{M}\p{Default_Ignorable_Code_Point}]*\/(\w+)(?:\s+(\S+))?(?:\s+(\S+))?\s*$/u.exec(line);
    const [, word, room, name = seat.name] = match ?? [];
    switch (word?.toLowerCase()) {
      case "join":
      case "j":
        if (!room || room === seat.room || !isName(room) || !isName(name)) {
          return false;
        }
        join(room, name);
        return true;
      case "time":
      case "color":
      case "ui":
      case "ids":
        // Their lines have other forms than the page reads.
        show({ kind: "server", text: `/${word} is for text clients: this page shows times, marks names, and numbers lines itself.` });
        return true;
      default:
        return false;
    }
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
    if (isAtEnd()) {
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
      activeAt = Date.now();
      comeBack();
      if (waiting.length > 0) {
        clearTimeout(renderTimer);
        renderTimer = 0;
        schedule();
      }
    }
  });
  document.addEventListener("keydown", onActive, { passive: true });
  document.addEventListener("pointerdown", onActive, { passive: true });
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
