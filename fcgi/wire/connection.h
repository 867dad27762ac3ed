// One accepted FastCGI connection: reads its one request, writes its one answer, closes.
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

// Prepares libfcgi. Call it once a process, before any thread.
void InitLibrary();

// Belongs to one thread. libfcgi's FCGX_Request underneath.
class Connection {
 public:
  Connection(FileDescriptor socket, const ReadLimits& limits);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Reads the request but for its body; call it once. There is nobody to answer when it fails:
  // CANCELLED when the client had left before, UNAVAILABLE when the peer went away or spoke no
  // FastCGI.
  absl::StatusOr<Request> ReadHead();

  // The bytes of the body that ReadBody would keep; 0 when it would keep none.
  std::size_t BodyBytes(const Request& request) const;

  // Reads the body of what ReadHead returned, and sets `body`, `body_status` and `read`; call it
  // once. Unless `admitted` is OK no body is kept, and its status is that.
  void ReadBody(Request& request, const absl::Status& admitted);

  int socket() const { return fcgx_.ipcFd; }

  // Writes the answer; false when the peer did not take all of it.
  bool Write(const Response& response);

 private:
  bool AwaitPreamble() const;
  absl::StatusOr<std::size_t> BodyLength() const;
  void KeepBody(Request& request, std::size_t bytes);
  void Discard(std::size_t bytes, TimePoint accepted);
  void Linger();
  std::size_t ReadSome(char* to, std::size_t most);
  const char* Parameter(const char* name) const;
  void ReadHeaders(Request& request) const;

  ReadLimits limits_;
  FCGX_Request fcgx_;
  bool unread_ = false;  // the peer may still be sending
  bool broken_ = false;  // the peer is gone or does not keep up: no more is written
};

}  // namespace inferpool::fcgi
