// The addresses of model servers as gRPC takes them.
#pragma once

#include <string>
#include <string_view>

namespace inferpool {

// Returns `address` for gRPC, to listen on or to connect to. gRPC takes "unix:" for the beginning
// of a URI, in which '%', '?' and '#' have a meaning. With us a plain path follows "unix:", so that
// a file's name can be written as it is. Every other address is returned unchanged.
std::string GrpcAddress(std::string_view address);

// Returns the path of the socket that "unix:PATH" or "unix:///PATH" names. Returns an empty text
// for every other address.
std::string_view UnixSocketPath(std::string_view address);

}  // namespace inferpool
