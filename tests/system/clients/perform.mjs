// Makes one call of inferpool.js and tells what came of it, in Node.js and in a browser: `asked` is
// {url, client, call, arguments, options, cancel_after_ms}, where {"base64": "..."} stands for a picture.
export async function perform(module, { url, client, call, arguments: given, options = {}, cancel_after_ms }) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const picture = (value) =>
    value?.base64 !== undefined ? new Blob([bytes(value.base64)]) : Array.isArray(value) ? value.map(picture) : value;
  const told = { progress: [] };
  const { progress, ...others } = options;
  if (progress) others.onProgress = ({ sent, total }) => told.progress.push([sent, total]);
  if (progress === "raise") {
    others.onProgress = () => {
      throw new RangeError("enough");
    };
  }
  others.onAnswer = ({ status, attempts, sent_bytes }) => (told.info = { status, attempts, sent_bytes });
  if (cancel_after_ms !== undefined) {
    const controller = new AbortController();
    others.signal = controller.signal;
    setTimeout(() => controller.abort(), cancel_after_ms);
  }
  const begin = performance.now();
  try {
    const value = await new module.Client({ url, ...client })[call](...given.map(picture), others);
    told.value = value instanceof Blob ? { type: value.type, bytes: value.size } : value;
  } catch (error) {
    const { name, message } = error;
    told.error = { ...error, name, message, is_ours: error instanceof module.InferpoolError };
  }
  told.seconds = (performance.now() - begin) / 1000;
  return told;
}
