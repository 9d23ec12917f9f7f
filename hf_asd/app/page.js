// What the page does without asking the server: sort tables, enlarge pictures, move the cursor while a sound plays.
window.hfAsd = (() => {
  let asked = false; // whether the user chose a recording, so that it is moved into view

  function sorted(table, column, direction) {
    const value = (row) => row.children[column]?.dataset.value ?? row.children[column]?.textContent ?? "";
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // rows without a value are last
      return direction * (isNaN(x) || isNaN(y) ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
    };
    const body = table.tBodies[0];
    [...body.rows].sort(compare).forEach((row) => body.append(row));
    for (const head of table.tHead.rows[0].cells) {
      const button = head.querySelector("[data-sort]");
      if (button && Number(button.dataset.sort) === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  // A table: headings sort it, names choose a recording, boxes leave one out.
  function table(element, trigger, watch) {
    let order = null;
    element.addEventListener("click", (event) => {
      const heading = event.target.closest("[data-sort]"), chosen = event.target.closest("[data-clip]");
      if (heading) {
        const column = Number(heading.dataset.sort);
        order = [column, order && order[0] === column ? -order[1] : 1];
        sorted(heading.closest("table"), ...order);
      } else if (chosen) {
        asked = true;
        trigger("select", { clip: Number(chosen.dataset.clip) });
      }
    });
    element.addEventListener("change", (event) => {
      const box = event.target.closest("[data-leave]");
      if (box) trigger("input", { clip: Number(box.dataset.leave), left_out: box.checked });
    });
    watch("value", () => {
      const shown = element.querySelector("table");
      if (shown && order) sorted(shown, ...order);
    });
  }

  // A recording that was chosen comes into view.
  function clip(element, watch) {
    watch("value", () => {
      const article = element.querySelector("article");
      if (!asked || !article) return;
      asked = false;
      article.focus({ preventScroll: true });
      article.scrollIntoView({ block: "nearest" });
    });
  }

  function place(audio) {
    const sound = audio.closest(".sound"), cursor = sound?.querySelector(".cursor");
    if (!cursor) return;
    const { left, right, seconds } = sound.dataset;
    const share = Math.min(audio.currentTime / Number(seconds), 1);
    cursor.style.left = `${Number(left) + share * (Number(right) - Number(left))}%`;
    cursor.hidden = false;
    const view = sound.querySelector(".window");
    const at = (view.scrollWidth * parseFloat(cursor.style.left)) / 100;
    if (at < view.scrollLeft || at > view.scrollLeft + view.clientWidth) view.scrollLeft = at - view.clientWidth / 5;
    if (!audio.paused && audio.isConnected) requestAnimationFrame(() => place(audio));
  }

  function isOurs(event) {
    return event.target instanceof HTMLAudioElement && event.target.closest(".sound");
  }

  document.addEventListener("play", (event) => {
    if (!isOurs(event)) return;
    for (const other of document.querySelectorAll(".sound audio")) if (other !== event.target) other.pause();
    place(event.target);
  }, true);
  for (const name of ["seeked", "pause"]) document.addEventListener(name, (event) => isOurs(event) && place(event.target), true);

  document.addEventListener("click", (event) => {
    const zoom = event.target.closest?.("[data-zoom]"), canvas = event.target.closest?.(".sound .canvas");
    if (zoom) {
      const own = zoom.closest(".sound").querySelector(".canvas");
      const width = parseFloat(own.style.width || "100") * Number(zoom.dataset.zoom);
      own.style.width = `${Math.min(Math.max(width, 100), 800)}%`;
    } else if (canvas) {
      const sound = canvas.closest(".sound"), box = canvas.getBoundingClientRect();
      const { left, right, seconds } = sound.dataset;
      const share = ((event.clientX - box.left) / box.width * 100 - Number(left)) / (Number(right) - Number(left));
      if (share >= 0 && share <= 1) sound.querySelector("audio").currentTime = share * Number(seconds);
    }
  });

  // Names that say what is written on a part, for readers of screens and for control by voice.
  function mend() {
    for (const button of document.querySelectorAll("button.upload-container, .upload-container button, button[aria-label*='drop']")) {
      const text = button.innerText.replace(/\s+/g, " ").trim();
      if (text && button.getAttribute("aria-label") !== text) button.setAttribute("aria-label", text);
    }
  }
  new MutationObserver(mend).observe(document.documentElement, { childList: true, subtree: true });
  return { table, clip };
})();
