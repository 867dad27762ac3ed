#include "tests/unit/shared/frames/producer_in_c.h"
#include "shared/frames/inferpool_frames.h"

static struct inferpool_frames ring;

int PutGreyFrame(unsigned char value, char* handle, unsigned long bytes) {
  const struct inferpool_frame frame = {"grey", 4, 2, 4, 8};
  void* pixels;
  if (ring.memory == NULL && inferpool_frames_open(&ring, 2, frame.bytes) != 0) return -1;
  pixels = inferpool_frames_begin(&ring, frame.bytes);
  if (pixels == NULL) return -1;
  memset(pixels, value, (size_t)frame.bytes);
  return inferpool_frames_end(&ring, &frame, handle, bytes);
}
