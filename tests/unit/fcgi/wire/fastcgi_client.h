// A FastCGI client, small and by hand: what nginx does to a worker, and what it never would.
// Written from the FastCGI specification 1.0, not from libfcgi.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/file_descriptor.h"

namespace inferpool::test {

enum class Record : unsigned char {
  kBegin = 1,
  kAbort = 2,
  kEnd = 3,
  kParams = 4,
  kStdin = 5,
  kStdout = 6,
  kStderr = 7,
};

using Parameters = std::vector<std::pair<std::string, std::string>>;

inline std::string Encode(Record type, std::string_view content, std::size_t padding = 0,
                          int request = 1, int version = 1) {
  EXPECT_LE(content.size(), 65535U);
  std::string record;
  for (const std::size_t byte :
       {static_cast<std::size_t>(version), static_cast<std::size_t>(type),
        static_cast<std::size_t>(request) >> 8U, static_cast<std::size_t>(request) & 255U,
        content.size() >> 8U, content.size() & 255U, padding, std::size_t{0}}) {
    record += static_cast<char>(static_cast<unsigned char>(byte));
  }
  return record.append(content).append(padding, '\0');
}

// A stream (PARAMS or STDIN) in records of at most `piece` bytes, without the empty last one.
inline std::string EncodeStream(Record type, std::string_view content, std::size_t piece = 65535,
                                std::size_t padding = 0) {
  std::string records;
  for (std::size_t at = 0; at < content.size(); at += piece) {
    records += Encode(type, content.substr(at, piece), padding);
  }
  return records;
}

inline std::string EncodeBegin(bool keep_connection = false, int role = 1) {
  std::string content(8, '\0');
  content[1] = static_cast<char>(role);
  content[2] = keep_connection ? 1 : 0;
  return Encode(Record::kBegin, content);
}

inline std::string EncodeLength(std::size_t length) {
  std::string bytes;
  if (length < 128) {
    bytes += static_cast<char>(length);
  } else {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
      bytes += static_cast<char>(static_cast<unsigned char>((length >> shift) & 255U));
    }
    bytes[0] = static_cast<char>(static_cast<unsigned char>(bytes[0]) | 0x80U);
  }
  return bytes;
}

inline std::string EncodeParameters(const Parameters& parameters) {
  std::string bytes;
  for (const auto& [name, value] : parameters) {
    bytes += EncodeLength(name.size()) + EncodeLength(value.size()) + name + value;
  }
  return bytes;
}

// A whole request as nginx sends it. `parameters` replace the usual ones of their names.
inline std::string EncodeRequest(std::string_view body, const Parameters& parameters = {},
                                 bool keep_connection = false) {
  Parameters all;
  for (const auto& [name, value] : Parameters{{"REQUEST_METHOD", "POST"},
                                              {"REQUEST_URI", "/"},
                                              {"CONTENT_LENGTH", std::to_string(body.size())}}) {
    if (std::ranges::find(parameters, name, &Parameters::value_type::first) == parameters.end()) {
      all.emplace_back(name, value);
    }
  }
  all.insert(all.end(), parameters.begin(), parameters.end());
  return EncodeBegin(keep_connection) + EncodeStream(Record::kParams, EncodeParameters(all)) +
         Encode(Record::kParams, "") + EncodeStream(Record::kStdin, body) +
         Encode(Record::kStdin, "");
}

struct FastCgiAnswer {
  std::string out;           // all of STDOUT
  std::string err;           // all of STDERR
  bool ended = false;        // an END_REQUEST came
  int app_status = -1;       // of it
  int protocol_status = -1;  // of it; 0: REQUEST_COMPLETE
  bool closed = false;       // the server closed the connection
  bool malformed = false;    // something came that is no record, or a cut one

  // The part of `out` after the empty line.
  std::string Body() const {
    const std::size_t end = out.find("\r\n\r\n");
    return end == std::string::npos ? "" : out.substr(end + 4);
  }
  // The value of a header in `out`; "(none)" when it is not there.
  std::string Header(const std::string& name) const {
    const std::string head = "\r\n" + out.substr(0, out.find("\r\n\r\n")) + "\r\n";
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "(none)";
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
  // Whole and well-formed.
  bool Good() const { return ended && app_status == 0 && protocol_status == 0 && !malformed; }
};

class FastCgiClient {
 public:
  explicit FastCgiClient(FileDescriptor socket) : socket_(std::move(socket)) {}

  static FastCgiClient Connect(const std::string& path) {
    FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      fd.Reset();
    }
    return FastCgiClient(std::move(fd));
  }

  bool connected() const { return static_cast<bool>(socket_); }
  int fd() const { return socket_.get(); }

  // False when the server takes no more.
  bool Send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // Says that nothing more will come.
  void FinishSending() const { shutdown(socket_.get(), SHUT_WR); }
  void Close() { socket_.Reset(); }

  // Reads until the server closes, or for `time` at most. After END_REQUEST it closes as nginx
  // does, unless `linger`.
  FastCgiAnswer Read(std::chrono::milliseconds time = std::chrono::milliseconds(30'000),
                     bool linger = false) {
    FastCgiAnswer answer;
    std::string bytes;
    const auto end = std::chrono::steady_clock::now() + time;
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      pollfd event{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (left.count() <= 0 || poll(&event, 1, static_cast<int>(left.count())) <= 0) break;
      std::string buffer(64 * 1024, '\0');
      const ssize_t got = recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) {
        answer.closed = true;
        break;
      }
      bytes.append(buffer, 0, static_cast<std::size_t>(got));
      Decode(bytes, answer);
      if (answer.ended && !linger) {
        Close();
        break;
      }
    }
    answer.malformed = answer.malformed || !bytes.empty();
    return answer;
  }

 private:
  // Takes the whole records off the front of `bytes`.
  static void Decode(std::string& bytes, FastCgiAnswer& answer) {
    const auto at = [&bytes](std::size_t i) {
      return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i]));
    };
    std::size_t begin = 0;
    while (bytes.size() - begin >= 8) {
      const std::size_t content = at(begin + 4) * 256 + at(begin + 5);
      const std::size_t whole = 8 + content + at(begin + 6);
      if (bytes.size() - begin < whole) break;
      if (at(begin) != 1) answer.malformed = true;
      const std::string_view data(bytes.data() + begin + 8, content);
      switch (static_cast<Record>(at(begin + 1))) {
        case Record::kStdout:
          answer.out += data;
          break;
        case Record::kStderr:
          answer.err += data;
          break;
        case Record::kEnd:
          answer.ended = true;
          answer.app_status = 0;
          for (std::size_t i = 0; i < 4; ++i) {
            answer.app_status = answer.app_status * 256 + static_cast<int>(at(begin + 8 + i));
          }
          answer.protocol_status = static_cast<int>(at(begin + 12));
          break;
        default:
          answer.malformed = true;
      }
      begin += whole;
    }
    bytes.erase(0, begin);
  }

  FileDescriptor socket_;
};

}  // namespace inferpool::test
