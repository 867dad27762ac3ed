// A load generator: posts one picture again and again and says what came back.
//
//   load --url URL --picture FILE --seconds 10 --connections 8     closed: as fast as answers come
//   load --url URL --picture FILE --seconds 10 --rate 500          open: so many a second, come
//   what may
//
// An open load keeps arriving while the server is slow, as real clients do; that is what shows how
// it behaves when there is too much. One thread, libcurl's multi interface. Prints one JSON object.

#include <curl/curl.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string url;
  std::string picture;
  double seconds = 10;
  double rate = 0;
  int connections = 8;
  int most_open = 4000;  // an open load's bound: more are counted as not sent
};

std::size_t Ignore(char*, std::size_t size, std::size_t count, void*) {
  return size * count;
}

class Load {
 public:
  Load(const Options& options, std::string body)
      : options_(options), body_(std::move(body)), multi_(curl_multi_init()) {
    headers_ = curl_slist_append(nullptr, "Content-Type: image/jpeg");
    headers_ = curl_slist_append(headers_, "Expect:");
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options.most_open));
  }

  void Run() {
    const auto start = Clock::now();
    const auto end = start + Seconds(options_.seconds);
    end_ = end;
    std::mt19937_64 random(1);
    std::exponential_distribution<double> gap(options_.rate > 0 ? options_.rate : 1);
    auto next = start;
    while (Clock::now() < end) {
      if (options_.rate > 0) {
        for (; next <= Clock::now(); next += Seconds(gap(random))) Send();
      } else {
        while (open_ < options_.connections) Send();
      }
      // A turn looks at every open request: an open load, which may have many, takes fewer turns.
      if (options_.rate > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      Turn(options_.rate > 0 ? next - Clock::now() : std::chrono::milliseconds(100));
    }
    // What is on its way still counts: its answer is what the client gets.
    const auto patience = Clock::now() + std::chrono::seconds(60);
    while (open_ > 0 && Clock::now() < patience) Turn(std::chrono::milliseconds(100));
  }

  void Print() const {
    std::string statuses;
    for (const auto& [status, times] : times_) {
      std::vector<double> sorted = times;
      std::ranges::sort(sorted);
      const auto at = [&](double part) {
        return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1))];
      };
      statuses += fmt::format(
          R"({}"{}":{{"count":{},"per_s":{:.2f},"p50_ms":{:.2f},"p99_ms":{:.2f},"max_ms":{:.2f}}})",
          statuses.empty() ? "" : ",", status, sorted.size(),
          static_cast<double>(in_time_.contains(status) ? in_time_.at(status) : 0) /
              options_.seconds,
          at(0.5), at(0.99), sorted.back());
    }
    fmt::print("{{\"sent\":{},\"not_sent\":{},\"statuses\":{{{}}}}}\n", sent_, not_sent_, statuses);
  }

 private:
  static Clock::duration Seconds(double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

  void Send() {
    if (open_ >= options_.most_open) {
      ++not_sent_;
      return;
    }
    CURL* easy = nullptr;
    if (idle_.empty()) {
      easy = curl_easy_init();
      curl_easy_setopt(easy, CURLOPT_URL, options_.url.c_str());
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body_.data());
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body_.size()));
      curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_);
      curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
      curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);  // a development certificate
      curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
      curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Ignore);
    } else {
      easy = idle_.back();
      idle_.pop_back();
    }
    curl_multi_add_handle(multi_, easy);
    ++open_;
    ++sent_;
  }

  void Turn(Clock::duration wait) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count();
    int running = 0;
    curl_multi_poll(multi_, nullptr, 0, static_cast<int>(std::clamp<long>(ms, 0, 100)), nullptr);
    curl_multi_perform(multi_, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      CURL* easy = message->easy_handle;
      long status = 0;  // 0: no answer
      curl_off_t us = 0;
      if (message->data.result == CURLE_OK) {
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
      }
      curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &us);
      times_[status].push_back(static_cast<double>(us) / 1000);
      if (Clock::now() <= end_) ++in_time_[status];
      curl_multi_remove_handle(multi_, easy);
      idle_.push_back(easy);
      --open_;
    }
  }

  const Options& options_;
  const std::string body_;
  CURLM* multi_;
  curl_slist* headers_ = nullptr;
  std::vector<CURL*> idle_;
  std::map<long, std::vector<double>> times_;  // milliseconds, by status
  std::map<long, long> in_time_;               // those that came while the load went on
  Clock::time_point end_;
  int open_ = 0;
  long sent_ = 0;
  long not_sent_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Posts a picture again and again");
  app.add_option("--url", options.url)->required();
  app.add_option("--picture", options.picture)->required()->check(CLI::ExistingFile);
  app.add_option("--seconds", options.seconds)->capture_default_str();
  app.add_option("--rate", options.rate, "Requests a second, at random times; 0: a closed load");
  app.add_option("--connections", options.connections)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::ifstream file(options.picture, std::ios::binary);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  Load load(options, {std::istreambuf_iterator<char>(file), {}});
  load.Run();
  load.Print();
  return EXIT_SUCCESS;
}
