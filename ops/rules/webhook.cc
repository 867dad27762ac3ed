#include "ops/rules/webhook.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <utility>

#include "ops/rules/signature.h"

namespace inferpool::rules {
namespace {

constexpr long kConnectMs = 5'000;
constexpr long kWholeMs = 10'000;
constexpr std::size_t kMostBody = std::size_t{64} << 10;

// Reads the body and forgets it. What is longer is not waited for: the transfer ends.
std::size_t Ignore(const char* /*bytes*/, std::size_t size, std::size_t count, void* body) {
  auto& read = *static_cast<std::size_t*>(body);
  read += size * count;
  return read > kMostBody ? CURL_WRITEFUNC_ERROR : size * count;
}

int StopsNow(void* stopping, curl_off_t /*to_get*/, curl_off_t /*got*/, curl_off_t /*to_send*/,
             curl_off_t /*sent*/) {
  return static_cast<const std::atomic<bool>*>(stopping)->load() ? 1 : 0;
}

std::int64_t UnixSeconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void Webhook::Free::operator()(void* handle) const {
  curl_easy_cleanup(handle);
}

Webhook::Webhook(std::string url, std::string secret_file, const std::atomic<bool>& stopping)
    : url_(std::move(url)), secret_file_(std::move(secret_file)), stopping_(stopping) {}

absl::Status Webhook::Post(const Event& event) {
  ASSIGN_OR_RETURN(const std::string secret, ReadSecret(secret_file_));
  if (handle_ == nullptr) handle_.reset(curl_easy_init());
  CURL* const curl = handle_.get();
  if (curl == nullptr) return absl::ResourceExhaustedError("no memory for a connection");

  std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(nullptr, curl_slist_free_all);
  const auto add = [&](const std::string& header) {
    headers.reset(curl_slist_append(headers.release(), header.c_str()));
  };
  add("Content-Type: application/json");
  add("Expect:");
  add("X-Inferpool-Event: " + event.id);
  add("X-Inferpool-Signature: " + Signature(secret, UnixSeconds(), event.json));

  std::size_t body = 0;
  std::array<char, CURL_ERROR_SIZE> error{};
  curl_easy_reset(curl);
  curl_easy_setopt(curl, CURLOPT_URL, url_.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, event.json.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(event.json.size()));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "inferpool");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, kWholeMs);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Ignore);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error.data());
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &StopsNow);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &stopping_);
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  // Whatever becomes of the body.
  if (status >= 200 && status <= 299) return absl::OkStatus();
  if (code != CURLE_OK && body <= kMostBody) {
    return absl::UnavailableError(error[0] != '\0' ? std::string(error.data())
                                                   : std::string(curl_easy_strerror(code)));
  }
  return absl::UnavailableError(fmt::format("it answered with status {}", status));
}

}  // namespace inferpool::rules
