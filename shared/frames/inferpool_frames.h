/* A ring of frames in shared memory, for producers: how frames reach an inferpool on the same host
 * without going through Redis. C11 and C++, Linux, no dependency; this file is all of it.
 *
 *   struct inferpool_frames ring;
 *   if (inferpool_frames_open(&ring, 20, 1280 * 720 * 3) != 0) perror("no shared memory");
 *   ...
 *   void* pixels = inferpool_frames_begin(&ring, 1280 * 720 * 3);
 *   if (pixels != NULL) {            // NULL: every slot is in use, so this frame is dropped
 *     fill(pixels);
 *     struct inferpool_frame frame = {"bgr", 1280, 720, 1280 * 3, 1280 * 720 * 3};
 *     char handle[INFERPOOL_FRAMES_TEXT];
 *     inferpool_frames_end(&ring, &frame, handle, sizeof handle);
 *     // XADD {s07}:cam:door-3 MAXLEN = 16 * frame <handle> epoch ... seq ... time ...
 *   }
 *   ...
 *   inferpool_frames_close(&ring);
 *
 * The segment is a file in /dev/shm: a header, the generation of each slot, a row for each reader,
 * and the slots. It never changes its size or geometry; frames of another size need another ring.
 *
 * Generations. A slot's generation is even while it has a frame, odd while one is written, and
 * never comes again. A handle names it, so an old handle cannot get a new frame.
 *
 * Pins. A reader sets the slot's bit in its own row, and then looks at the generation. The producer
 * makes the generation odd, and then looks at the rows. Each does so in one order that both agree
 * on (sequential consistency), so that a slot is never written while somebody reads it: the reader
 * sees the odd generation, or the producer sees the bit and leaves the slot as it was. A reader
 * that has a pin and meets the odd generation in between waits for it to go.
 *
 * Death. A row belongs to whoever locks its first byte, the segment to whoever locks byte 0
 * (F_OFD_SETLK). The kernel drops these locks with the process, however it ends. The producer
 * clears the bits of a row that nobody locks; the next producer on this host removes the segments
 * that nobody locks.
 *
 * A ring is for one thread. A process that has one must not fork without executing a program. */
#ifndef INFERPOOL_FRAMES_H
#define INFERPOOL_FRAMES_H

/* It is C, and a folder is read by one thread.
 * NOLINTBEGIN(modernize-use-nullptr,concurrency-mt-unsafe) */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef O_TMPFILE
#error "include inferpool_frames.h before all other headers, or compile with -D_GNU_SOURCE"
#endif
#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#endif

#define INFERPOOL_FRAMES_FOLDER "/dev/shm"
#define INFERPOOL_FRAMES_PREFIX "inferpool."
#define INFERPOOL_FRAMES_MAGIC "IPFRAMES"
#define INFERPOOL_FRAMES_VERSION 1u
#define INFERPOOL_FRAMES_MAX_SLOTS 256u
#define INFERPOOL_FRAMES_ROWS 64u
#define INFERPOOL_FRAMES_WORDS (INFERPOOL_FRAMES_MAX_SLOTS / 64u)
#define INFERPOOL_FRAMES_PAGE 4096u
#define INFERPOOL_FRAMES_TEXT 256u /* bytes of a handle's text at most, with its end */

/* What the segment begins with. `written` and `dropped` count frames. */
struct inferpool_frames_header {
  char magic[8];
  uint32_t version;
  uint32_t slots;
  uint64_t slot_bytes; /* a multiple of the page */
  char boot_id[40];
  uint64_t written;
  uint64_t dropped;
};

/* At INFERPOOL_FRAMES_PAGE, one for each of the most slots. */
struct inferpool_frames_slot {
  uint64_t generation;
  char line[56]; /* a cache line each */
};

/* Behind the slots' generations. */
struct inferpool_frames_row {
  uint64_t pins[INFERPOOL_FRAMES_WORDS]; /* a bit for each slot */
  char line[64 - 8 * INFERPOOL_FRAMES_WORDS];
};

#define INFERPOOL_FRAMES_ROWS_AT     \
  ((uint64_t)INFERPOOL_FRAMES_PAGE + \
   (uint64_t)INFERPOOL_FRAMES_MAX_SLOTS * sizeof(struct inferpool_frames_slot))
#define INFERPOOL_FRAMES_DATA_AT \
  (INFERPOOL_FRAMES_ROWS_AT + (uint64_t)INFERPOOL_FRAMES_ROWS * sizeof(struct inferpool_frames_row))

/* What a frame is. `format` is jpeg, png or webp for the bytes of such a file; then the other
 * numbers but `bytes` are 0. Or it is rgb, bgr, grey or nv12 for pixels, rows of `stride` bytes
 * from top to bottom; the two chroma values of nv12 follow the luma in rows of the same stride. */
struct inferpool_frame {
  const char* format;
  uint32_t width;
  uint32_t height;
  uint32_t stride;
  uint64_t bytes;
};

struct inferpool_frames {
  int file;
  char name[64];
  unsigned char* memory;
  uint64_t size;
  uint32_t slots;
  uint64_t slot_bytes;
  uint32_t next; /* slot to be written */
  int writing;   /* begun and not ended */
};

static inline struct inferpool_frames_header* inferpool_frames_header_of(void* memory) {
  return (struct inferpool_frames_header*)memory;
}

static inline struct inferpool_frames_slot* inferpool_frames_slots_of(void* memory) {
  return (struct inferpool_frames_slot*)(void*)((unsigned char*)memory + INFERPOOL_FRAMES_PAGE);
}

static inline struct inferpool_frames_row* inferpool_frames_rows_of(void* memory) {
  return (struct inferpool_frames_row*)(void*)((unsigned char*)memory + INFERPOOL_FRAMES_ROWS_AT);
}

/* Tries to lock one byte of the segment, or unlocks it (F_WRLCK, F_UNLCK). 0, or -1 with errno. */
static inline int inferpool_frames_lock(int file, uint64_t byte, short type) {
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = (off_t)byte;
  lock.l_len = 1;
  return fcntl(file, F_OFD_SETLK, &lock);
}

static inline uint64_t inferpool_frames_row_byte(uint32_t row) {
  return INFERPOOL_FRAMES_ROWS_AT + (uint64_t)row * sizeof(struct inferpool_frames_row);
}

/* Removes the segments of producers that are dead. */
static inline void inferpool_frames_sweep(void) {
  DIR* folder = opendir(INFERPOOL_FRAMES_FOLDER);
  struct dirent* entry;
  if (folder == NULL) return;
  while ((entry = readdir(folder)) != NULL) {
    int file;
    if (strncmp(entry->d_name, INFERPOOL_FRAMES_PREFIX, sizeof INFERPOOL_FRAMES_PREFIX - 1) != 0) {
      continue;
    }
    file = openat(dirfd(folder), entry->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) continue;
    /* Names are never used twice, so this one is still that file's. */
    if (inferpool_frames_lock(file, 0, F_WRLCK) == 0) unlinkat(dirfd(folder), entry->d_name, 0);
    close(file);
  }
  closedir(folder);
}

/* Takes the name away, which never comes again. Readers that have the segment open keep its frames
 * until they have used none for a second; for the others they are gone. */
static inline void inferpool_frames_close(struct inferpool_frames* ring) {
  char path[128];
  if (ring->memory == NULL) return;
  snprintf(path, sizeof path, "%s/%s", INFERPOOL_FRAMES_FOLDER, ring->name);
  unlink(path);
  munmap(ring->memory, ring->size);
  close(ring->file);
  ring->memory = NULL;
}

/* Makes a segment for frames of at most `frame_bytes` and takes all of its memory now. A camera
 * needs as many slots as entries may wait in its stream (the XADD's MAXLEN), and a few for frames
 * in work. 0, or -1 with errno: EINVAL for more than INFERPOOL_FRAMES_MAX_SLOTS, ENOSPC when
 * /dev/shm is full (a container has 64 MB unless it is told otherwise). */
static inline int inferpool_frames_open(struct inferpool_frames* ring, uint32_t slots,
                                        uint64_t frame_bytes) {
  char path[128];
  char own[64];
  uint64_t number = 0;
  void* memory;
  int error;
  struct inferpool_frames_header* header;
  memset(ring, 0, sizeof *ring);
  ring->file = -1;
  if (slots < 1 || slots > INFERPOOL_FRAMES_MAX_SLOTS || frame_bytes < 1 ||
      frame_bytes > ((uint64_t)1 << 32)) {
    errno = EINVAL;
    return -1;
  }
  inferpool_frames_sweep();
  ring->slots = slots;
  ring->slot_bytes =
      (frame_bytes + INFERPOOL_FRAMES_PAGE - 1) / INFERPOOL_FRAMES_PAGE * INFERPOOL_FRAMES_PAGE;
  ring->size = INFERPOOL_FRAMES_DATA_AT + slots * ring->slot_bytes;
  if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) return -1;
  snprintf(ring->name, sizeof ring->name, "%s%d-%016llx", INFERPOOL_FRAMES_PREFIX, (int)getpid(),
           (unsigned long long)number);
  ring->file = open(INFERPOOL_FRAMES_FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0660);
  if (ring->file < 0) return -1;
  fchmod(ring->file, 0660); /* whatever the umask */
  do {
    error = posix_fallocate(ring->file, 0, (off_t)ring->size);
  } while (error == EINTR);
  memory = error != 0 ? MAP_FAILED
                      : mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->file, 0);
  if (memory == MAP_FAILED) {
    if (error != 0) errno = error;
    goto failed;
  }
  ring->memory = (unsigned char*)memory;
  header = inferpool_frames_header_of(memory);
  memcpy(header->magic, INFERPOOL_FRAMES_MAGIC, sizeof header->magic);
  header->version = INFERPOOL_FRAMES_VERSION;
  header->slots = slots;
  header->slot_bytes = ring->slot_bytes;
  {
    const int boot = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    const ssize_t got = boot < 0 ? -1 : read(boot, header->boot_id, 36);
    if (boot >= 0) close(boot);
    if (got != 36) goto failed;
  }
  /* The name comes last: nobody ever sees it without its lock and its memory. */
  if (inferpool_frames_lock(ring->file, 0, F_WRLCK) != 0) goto failed;
  snprintf(own, sizeof own, "/proc/self/fd/%d", ring->file);
  snprintf(path, sizeof path, "%s/%s", INFERPOOL_FRAMES_FOLDER, ring->name);
  if (linkat(AT_FDCWD, own, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0) goto failed;
  return 0;
failed:
  error = errno;
  if (ring->memory != NULL) munmap(ring->memory, ring->size);
  ring->memory = NULL;
  close(ring->file);
  errno = error;
  return -1;
}

/* Whether a living reader has pinned the slot. Frees the rows of dead ones. */
static inline int inferpool_frames_is_pinned(const struct inferpool_frames* ring, uint32_t slot) {
  struct inferpool_frames_row* rows = inferpool_frames_rows_of(ring->memory);
  const uint64_t bit = (uint64_t)1 << (slot % 64);
  uint32_t row;
  uint32_t word;
  for (row = 0; row < INFERPOOL_FRAMES_ROWS; ++row) {
    if ((__atomic_load_n(&rows[row].pins[slot / 64], __ATOMIC_SEQ_CST) & bit) == 0) continue;
    /* With the lock in our hands nobody can take the row meanwhile. */
    if (inferpool_frames_lock(ring->file, inferpool_frames_row_byte(row), F_WRLCK) != 0) return 1;
    for (word = 0; word < INFERPOOL_FRAMES_WORDS; ++word) {
      __atomic_store_n(&rows[row].pins[word], 0, __ATOMIC_SEQ_CST);
    }
    inferpool_frames_lock(ring->file, inferpool_frames_row_byte(row), F_UNLCK);
  }
  return 0;
}

/* The memory for the next frame, page-aligned: of the oldest frame that nobody reads. NULL: the
 * frame is to be dropped, which has been counted, because readers have pinned every slot (EBUSY) or
 * because it is too large (EMSGSIZE). Begun again without an end, it gives the same memory. */
static inline void* inferpool_frames_begin(struct inferpool_frames* ring, uint64_t bytes) {
  struct inferpool_frames_slot* slots = inferpool_frames_slots_of(ring->memory);
  uint32_t tried;
  if (bytes > ring->slot_bytes) {
    __atomic_fetch_add(&inferpool_frames_header_of(ring->memory)->dropped, 1, __ATOMIC_RELAXED);
    errno = EMSGSIZE;
    return NULL;
  }
  for (tried = 0; !ring->writing; ++tried) {
    uint64_t* generation = &slots[ring->next].generation;
    const uint64_t before = __atomic_load_n(generation, __ATOMIC_RELAXED);
    if (tried == ring->slots) {
      __atomic_fetch_add(&inferpool_frames_header_of(ring->memory)->dropped, 1, __ATOMIC_RELAXED);
      errno = EBUSY;
      return NULL;
    }
    if (!inferpool_frames_is_pinned(ring, ring->next)) {
      __atomic_store_n(generation, before + 1, __ATOMIC_SEQ_CST);
      if (!inferpool_frames_is_pinned(ring, ring->next)) {
        ring->writing = 1;
        break;
      }
      __atomic_store_n(generation, before, __ATOMIC_SEQ_CST);
    }
    ring->next = (ring->next + 1) % ring->slots;
  }
  return ring->memory + INFERPOOL_FRAMES_DATA_AT + ring->next * ring->slot_bytes;
}

/* The frame is written: readers may have it. Writes its handle into `text`, which has
 * INFERPOOL_FRAMES_TEXT bytes. 0, or -1 with errno: EINVAL when nothing was begun, the frame is
 * larger than its slot, or the text has no room. */
static inline int inferpool_frames_end(struct inferpool_frames* ring,
                                       const struct inferpool_frame* frame, char* text,
                                       size_t text_bytes) {
  struct inferpool_frames_header* header = inferpool_frames_header_of(ring->memory);
  struct inferpool_frames_slot* slot = &inferpool_frames_slots_of(ring->memory)[ring->next];
  const uint64_t generation = __atomic_load_n(&slot->generation, __ATOMIC_RELAXED) + 1;
  int length;
  if (!ring->writing || frame->bytes > ring->slot_bytes) {
    errno = EINVAL;
    return -1;
  }
  length = snprintf(text, text_bytes, "%s %u %llu %llu %s %u %u %u %.36s", ring->name, ring->next,
                    (unsigned long long)generation, (unsigned long long)frame->bytes, frame->format,
                    frame->width, frame->height, frame->stride, header->boot_id);
  if (length < 0 || (size_t)length >= text_bytes) {
    errno = EINVAL;
    return -1;
  }
  __atomic_store_n(&slot->generation, generation, __ATOMIC_RELEASE);
  __atomic_fetch_add(&header->written, 1, __ATOMIC_RELAXED);
  ring->writing = 0;
  ring->next = (ring->next + 1) % ring->slots;
  return 0;
}

/* NOLINTEND(modernize-use-nullptr,concurrency-mt-unsafe) */
#endif
