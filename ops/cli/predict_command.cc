#include "ops/cli/predict_command.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <json/json.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string_view>

#include "shared/base/ascii.h"
#include "shared/base/status.h"

namespace inferpool::ops {
namespace {

constexpr long kTimeoutSeconds = 120;

struct Answer {
  long status = 0;
  std::string body;
};

std::size_t Append(char* data, std::size_t size, std::size_t count, void* body) {
  static_cast<std::string*>(body)->append(data, size * count);
  return size * count;
}

// curl reports what a failed call has to say in a buffer of this size.
using ErrorText = std::array<char, CURL_ERROR_SIZE>;

// `render`: the value of the API's parameter of that name.
absl::StatusOr<Answer> Post(const PredictCommand& options, const std::string& picture,
                            const std::string& render) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  const std::unique_ptr<curl_mime, void (*)(curl_mime*)> form(curl_mime_init(curl.get()),
                                                              curl_mime_free);
  curl_mimepart* part = curl_mime_addpart(form.get());
  curl_mime_name(part, "image");
  if (curl_mime_filedata(part, picture.c_str()) != CURLE_OK) {
    return absl::NotFoundError("the file cannot be read");
  }
  const std::unique_ptr<char, void (*)(void*)> model(
      curl_easy_escape(curl.get(), options.model.c_str(), static_cast<int>(options.model.size())),
      curl_free);
  Answer answer;
  ErrorText error{};
  const std::string url =
      fmt::format("{}/v1/predict/{}?render={}", options.url, model.get(), render);
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_MIMEPOST, form.get());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, error.data());
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kTimeoutSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  if (!options.cacert.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_CAINFO, options.cacert.c_str());
  }
  if (options.insecure) {
    curl_easy_setopt(curl.get(), CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl.get(), CURLOPT_SSL_VERIFYHOST, 0L);
  }
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) {
    std::string text = error[0] != '\0' ? error.data() : curl_easy_strerror(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION) {
      text += "; trust the development certificate with --cacert STATE/tls/certificate.pem";
    }
    return absl::UnavailableError(text);
  }
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

// One line a detection, class or whatever the model's family answers.
void Print(const std::string& picture, const Json::Value& answer) {
  fmt::print("{}: {} x {}, {:.1f} ms\n", picture, answer["image"]["width"].asInt(),
             answer["image"]["height"].asInt(), answer["timing_ms"]["total"].asDouble());
  for (const Json::Value& found : answer["detections"]) {
    const Json::Value& box = found["box"];
    fmt::print("  {:<16} {:.3f}  x {:g} to {:g}, y {:g} to {:g}\n", found["class_name"].asString(),
               found["confidence"].asDouble(), box["x1"].asDouble(), box["x2"].asDouble(),
               box["y1"].asDouble(), box["y2"].asDouble());
  }
  for (const Json::Value& found : answer["classes"]) {
    fmt::print("  {:<16} {:.3f}\n", found["class_name"].asString(), found["confidence"].asDouble());
  }
  if (answer.isMember("embedding")) {
    fmt::print("  an embedding of {} numbers\n", answer["embedding"].size());
  }
  if (answer.isMember("detections") && answer["detections"].empty()) {
    fmt::print("  nothing found\n");
  }
}

// Returns the value of `render` for a picture file of that name, or an empty text for another file.
std::string RenderingFor(const std::string& file) {
  const std::string ending = LowerCase(std::filesystem::path(file).extension().string());
  if (ending == ".png") return "png";
  return ending == ".jpg" || ending == ".jpeg" ? "jpeg" : "";
}

absl::Status Write(const std::string& file, const std::string& bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  return out ? absl::OkStatus() : absl::InternalError("cannot be written");
}

// "out.jpg" for the first of one picture; "out-2.jpg" for the second of several.
std::string DrawFile(const PredictCommand& options, std::size_t index) {
  if (options.pictures.size() == 1) return options.draw;
  const std::filesystem::path path(options.draw);
  return path.parent_path() /
         fmt::format("{}-{}{}", path.stem().string(), index + 1, path.extension().string());
}

// Prints `text` as what is wrong with `subject`. Returns false, for the caller to return.
bool Complain(const std::string& subject, std::string_view text) {
  fmt::print(stderr, "{}: {}\n", subject, text);
  return false;
}

// Returns the answer's JSON, or the service's refusal as an error when its status is not 200.
absl::StatusOr<Json::Value> ReadAnswer(const PredictCommand& options, const Answer& answer) {
  Json::Value json;
  std::string errors;
  std::istringstream stream(answer.body);
  if (!Json::parseFromStream(Json::CharReaderBuilder(), stream, &json, &errors) ||
      !json.isObject()) {
    return absl::UnavailableError(
        fmt::format("status {} without JSON; is {} an inferpool?", answer.status, options.url));
  }
  if (answer.status != 200) {
    return absl::UnavailableError(fmt::format("{} {}: {} (request {})", answer.status,
                                              json["title"].asString(), json["detail"].asString(),
                                              json["request_id"].asString()));
  }
  return json;
}

// Asks the service for the picture with what was found drawn into it.
absl::Status Draw(const PredictCommand& options, const std::string& picture,
                  const std::string& file) {
  const std::string rendering = RenderingFor(file);
  if (rendering.empty()) {
    return InvalidArgument("is no picture's name: end it in .jpg or .png");
  }
  ASSIGN_OR_RETURN(const Answer answer, Post(options, picture, rendering));
  if (answer.status != 200) return ReadAnswer(options, answer).status();
  return Write(file, answer.body);
}

// Returns false after it has printed what went wrong.
bool PredictOne(const PredictCommand& options, std::size_t index) {
  const std::string& picture = options.pictures[index];
  const absl::StatusOr<Answer> answer = Post(options, picture, "json");
  if (!answer.ok()) return Complain(picture, Message(answer.status()));
  const absl::StatusOr<Json::Value> json = ReadAnswer(options, *answer);
  if (!json.ok()) return Complain(picture, Message(json.status()));
  if (options.json) {
    fmt::print("{}", answer->body);
  } else {
    Print(picture, *json);
  }
  if (options.draw.empty()) return true;
  const std::string file = DrawFile(options, index);
  const absl::Status drawn = Draw(options, picture, file);
  return drawn.ok() || Complain(file, Message(drawn));
}

}  // namespace

void AddPredictOptions(CLI::App& command, PredictCommand& options) {
  command.add_option("pictures", options.pictures, "JPEG, PNG, WebP or GIF files")->required();
  command.add_option("-m,--model", options.model, "Model to ask")->required();
  command.add_option("-u,--url", options.url, "Where inferpool answers")->capture_default_str();
  command.add_option("--draw", options.draw,
                     "Write the picture with what was found to this .jpg or .png file");
  command.add_option("--cacert", options.cacert, "Trust this certificate (PEM)");
  command.add_flag("-k,--insecure", options.insecure, "Trust any certificate");
  command.add_flag("--json", options.json, "Print the answers as they came");
}

int Predict(const PredictCommand& options) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  bool good = true;
  for (std::size_t i = 0; i < options.pictures.size(); ++i) good = PredictOne(options, i) && good;
  curl_global_cleanup();
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace inferpool::ops
