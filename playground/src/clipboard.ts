// Puts a text where one can paste it from.

export async function copyText(text: string): Promise<void> {
  // Pages of an address without TLS have no clipboard of their own, and a browser may keep it from any.
  const done = await navigator.clipboard?.writeText(text).then(
    () => true,
    () => false,
  );
  if (done) return;
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
