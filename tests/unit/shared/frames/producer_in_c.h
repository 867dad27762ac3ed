/* A producer that is written in C. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* Puts one grey frame of 4 x 2 pixels, all of that value, into a segment of its own, which stays
 * until the process ends. 0 and the handle, or -1. */
int PutGreyFrame(unsigned char value, char* handle, unsigned long bytes);

#ifdef __cplusplus
}
#endif
