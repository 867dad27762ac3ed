// An accepted FastCGI connection, which carries one request and one answer.
#pragma once

#include <fcgiapp.h>

#include <chrono>
#include <cstddef>

#include "fcgi/wire/request.h"
#include "shared/base/file_descriptor.h"

namespace inferpool::fcgi {

struct ReadLimits {
  std::size_t body_bytes;
  std::chrono::seconds io;             // longest pause between two bytes, in both directions
  std::chrono::seconds whole{30};      // longest time that reading a request may take
  std::chrono::milliseconds queue{0};  // longest wait before acceptance; 0: any
};

// Prepares libfcgi. Call it once per process, before any thread starts.
void InitLibrary();

// Wraps libfcgi's FCGX_Request. For one thread. The destructor closes the connection.
class Connection {
 public:
  Connection(FileDescriptor socket, const ReadLimits& limits);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Reads the request except its body. Call it once. When it fails nobody waits for an answer.
  // CANCELLED: the client had already disconnected. UNAVAILABLE: the peer disconnected, or did not
  // speak FastCGI.
  absl::StatusOr<Request> ReadHead();

  // Returns how many bytes of the body ReadBody would keep.
  std::size_t BodyBytes(const Request& request) const;

  // Reads the body of the request that ReadHead returned, and sets `body`, `body_status` and
  // `read`. Call it once. When `admitted` is an error, no body is kept and `body_status` is that
  // error.
  void ReadBody(Request& request, const absl::Status& admitted);

  int socket() const { return fcgx_.ipcFd; }

  // Writes the answer. Returns false when the peer did not take all of it.
  bool Write(const Response& response);

 private:
  bool AwaitPreamble() const;
  absl::StatusOr<std::size_t> BodyLength() const;
  void KeepBody(Request& request, std::size_t bytes);
  void Discard(std::size_t bytes, TimePoint accepted);
  void Linger();
  std::size_t ReadSome(char* to, std::size_t max);
  const char* Parameter(const char* name) const;
  void ReadHeaders(Request& request) const;

  ReadLimits limits_;
  FCGX_Request fcgx_;
  bool unread_ = false;  // the peer may still be sending
  bool broken_ = false;  // the peer is gone or does not keep up: no more is written
};

}  // namespace inferpool::fcgi
