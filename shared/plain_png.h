// PNG files with nothing but the picture.
#pragma once

#include <string>
#include <string_view>

namespace inferpool {

// `png` with its critical chunks, tRNS and eXIf alone; itself when there are no others, else a copy
// in `storage`. Before it comes to the pixels, libpng unpacks texts and colour profiles, up to a
// thousand of up to 8 MB each, and keeps them: a file of 4 MB is 4 GB, and a minute. Stops trusting
// the file where a chunk is not whole; what follows is left to the decoder.
std::string_view PlainPng(std::string_view png, std::string& storage);

}  // namespace inferpool
