// The colours of people. Eight that are told apart, each dark enough for white letters on it, and a paler one for
// what somebody has selected. What others send is drawn only when it is a plain colour.

const PALETTE = ["#b3261e", "#8a5300", "#4d6a00", "#00705c", "#00688f", "#3f5bc6", "#7a43b6", "#a8327f"];
const PLAIN = /^#[0-9a-f]{6}$/i;

/** Always the same for the same user, at whatever node. */
export function colourOf(user: string): string {
  let sum = 0;
  for (const character of user) sum = (sum * 31 + character.codePointAt(0)!) >>> 0;
  return PALETTE[sum % PALETTE.length]!;
}

/** One that nobody has; `null` when all are taken. */
export function freeColour(taken: (string | null)[]): string | null {
  return PALETTE.find((colour) => !taken.includes(colour)) ?? null;
}

/** What is behind a selection: see-through, so that the text stays what is seen. */
export function pale(colour: string): string {
  return `${colour}33`;
}

/** A colour that somebody else chose, or one for them if it is none. */
export function safeColour(given: unknown, user: string): string {
  return typeof given === "string" && PLAIN.test(given) ? given.toLowerCase() : colourOf(user);
}

/** White or black, whichever is read better on it. */
export function lettersOn(colour: string): "#ffffff" | "#000000" {
  const light = luminance(colour);
  return 1.05 / (light + 0.05) >= (light + 0.05) / 0.05 ? "#ffffff" : "#000000";
}

/** By WCAG 2: from 1 to 21. */
export function contrast(one: string, other: string): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
