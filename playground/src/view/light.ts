// The connection light: words beside a dot whose shape says the same as its colour. Saving and saved alternate with
// every key, so they are shown and not read out; what is read out is whether one is connected.

import { part } from "../dom";
import type { Light } from "../text/document";
import { speak } from "./notices";

let spoken = "";

export function showLight(light: Light): void {
  part("light").dataset.state = light.state;
  part("light-text").textContent = words(light);
  const news = announcement(light);
  if (news === null || news === spoken) return;
  // The first connection is no news.
  if (spoken !== "" || light.state === "refused") speak(news);
  spoken = news;
}

export function words(light: Light): string {
  switch (light.state) {
    case "connecting":
      return "Connecting…";
    case "saved":
      return "Online, saved";
    case "saving":
      return "Online, saving…";
    case "offline":
      return light.unsaved === 0 ? "Offline" : `Offline, ${edits(light.unsaved)} kept`;
    case "refused":
      return light.closing.sentence;
  }
}

function announcement(light: Light): string | null {
  if (light.state === "connecting") return null;
  if (light.state === "refused") return light.closing.sentence;
  return light.state === "offline" ? "Offline. What you write is kept and sent later." : "Online.";
}

function edits(count: number): string {
  return count === 1 ? "1 unsaved edit" : `${count} unsaved edits`;
}
