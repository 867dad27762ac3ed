// Which way up the browser shows a picture. The server turns it as its EXIF orientation says; Chromium,
// for one, does so with a JPEG and a PNG, and passes over that of a WebP.

const UPRIGHT = 1;

// Whether the picture is shown as the server sees it, as far as its file's EXIF goes.
export async function isShownUpright(blob) {
  return webpOrientation(new DataView(await blob.arrayBuffer())) === UPRIGHT || turnsWebp();
}

// Whether this browser turns a WebP: one of 2 x 1 pixels, tagged to be turned by a quarter, tells.
async function turnsWebp() {
  const probe = new Image();
  probe.src = "data:image/webp;base64,UklGRkoAAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TAkAAAAvAQAAAIiI/gcARVhJRhoAAABJSSoACAAAAAEAEgEDAAEAAAAGAAAAAAAAAA==";
  await probe.decode();
  return probe.naturalWidth === 1;
}

// 1 to 8 (TIFF 6.0, "Orientation"), read as shared/pictures/header.cc does; 1 for every other file.
function webpOrientation(file) {
  try {
    const isWebp = tag(file, 0) === "RIFF" && tag(file, 8) === "WEBP" && tag(file, 12) === "VP8X";
    const hasExif = isWebp && file.getUint8(20) & 0x08;
    const end = 8 + file.getUint32(4, true); // what stands behind the container is no part of it
    for (let at = 12; hasExif && at < end; ) {
      const size = file.getUint32(at + 4, true);
      if (tag(file, at) === "EXIF") return exifOrientation(file.buffer.slice(at + 8, at + 8 + size));
      at += 8 + size + (size % 2);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it is cut off
  }
  return UPRIGHT;
}

const tag = (file, at) => String.fromCharCode(...[0, 1, 2, 3].map((i) => file.getUint8(at + i)));

function exifOrientation(content) {
  // Several writers keep JPEG's prefix, "Exif", a zero byte and any other.
  const isPrefixed = tag(new DataView(content), 0) === "Exif";
  const tiff = new DataView(content, isPrefixed ? 6 : 0);
  const little = tiff.getUint32(0) === 0x49492a00;
  if (!little && tiff.getUint32(0) !== 0x4d4d002a) return UPRIGHT;
  const directory = tiff.getUint32(4, little);
  const count = tiff.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < count; ++i, at += 12) {
    if (tiff.getUint16(at, little) !== 0x0112) continue;
    const isOneShort = tiff.getUint16(at + 2, little) === 3 && tiff.getUint32(at + 4, little) === 1;
    const value = tiff.getUint16(at + 8, little);
    if (isOneShort && value >= 1 && value <= 8) return value; // the first good one counts
  }
  return UPRIGHT;
}

