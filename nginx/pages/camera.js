// The camera of the page, which shows what it sees in a video element.

export class Camera {
  constructor(video) {
    this.video = video;
    this.stream = null;
  }

  get isOpen() {
    return this.stream !== null;
  }

  // Opens it; throws a DOMException that `whyNot` explains.
  async open() {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    this.stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1920 } },
    });
    try {
      this.video.srcObject = this.stream;
      await this.video.play();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
  }

  // What it sees now, as a JPEG whose longer side is at most `side`.
  shot(side = Infinity) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, side / Math.max(videoWidth, videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(videoWidth * scale);
    canvas.height = Math.round(videoHeight * scale);
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
  }
}

export function whyNot(error) {
  const known = {
    NotAllowedError: "The browser was told not to share it.",
    NotFoundError: "There is none.",
    SecurityError: "Browsers open it for pages over HTTPS only.",
  };
  return known[error.name] ?? `The browser says: ${error.message}`;
}
