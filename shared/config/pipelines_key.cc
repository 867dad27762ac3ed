#include "shared/config/pipelines_key.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "shared/base/json_text.h"
#include "shared/base/utf8.h"

namespace inferpool {
namespace {

constexpr std::size_t kMaxName = 255;
constexpr Json::ArrayIndex kMaxClasses = 1'000;
constexpr int kMaxSize = 100'000;
constexpr std::string_view kReading = "reading";

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName && IsUtf8(text) &&
         std::ranges::none_of(
             text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// What a path can name and a list in a query; '@' stands before a version.
bool IsPipelineName(std::string_view text) {
  return IsName(text) && text.find_first_of("/@,") == std::string_view::npos && text != "." &&
         text != "..";
}

class Reader {
 public:
  explicit Reader(std::vector<MemberProblem>& problems) : problems_(problems) {}

  Config::Step ReadPipeline(const std::string& key, const Json::Value& object) {
    steps_ = 0;
    crops_ = 0;
    Config::Step step = ReadStep(key, object, 1);
    if (steps_ > kMaxPipelineSteps) {
      Add(object, key, fmt::format("has {} steps, allowed are {}", steps_, kMaxPipelineSteps));
    }
    if (crops_ > kMaxCrops) {
      Add(object, key,
          fmt::format("may look at {} parts of a picture, allowed are {}: set `most` of its steps",
                      crops_, kMaxCrops));
    }
    return step;
  }

  void Add(const Json::Value& value, std::string key, std::string message) {
    problems_.push_back({value.getOffsetStart(), std::move(key), std::move(message)});
  }

 private:
  Config::Step ReadStep(const std::string& key, const Json::Value& object, int depth) {
    Config::Step step;
    ++steps_;
    for (const std::string& member : object.getMemberNames()) {
      ReadMember(member, key + "." + member, object[member], depth, step);
    }
    if (!object.isMember("model")) Add(object, key, "names no \"model\"");
    if (depth > 1) crops_ += step.most;
    return step;
  }

  void ReadMember(const std::string& member, const std::string& key, const Json::Value& value,
                  int depth, Config::Step& step) {
    const bool is_first = depth == 1;
    if (member == "model") {
      ReadName(value, key, step.model);
    } else if (member == "order") {
      step.reading_order = value.isString() && value.asString() == kReading;
      if (!step.reading_order) Add(value, key, R"(allowed is "reading")");
    } else if (member == "each") {
      ReadEach(value, key, depth, step.each);
    } else if (member != "turn" && member != "classes" && member != "min_confidence" &&
               member != "min_size" && member != "most") {
      Add(value, key,
          "is unknown; a step has model, classes, min_confidence, min_size, most, turn, order and "
          "each");
    } else if (is_first) {
      Add(value, key, "is for the steps below `each`: the first one is asked about the picture");
    } else if (member == "turn") {
      ReadName(value, key, step.turn);
    } else if (member == "classes") {
      ReadClasses(value, key, step.classes);
    } else if (member == "min_confidence") {
      const bool is_good =
          value.isNumeric() && !value.isBool() && value.asDouble() >= 0 && value.asDouble() <= 1;
      if (is_good) step.min_confidence = value.asDouble();
      if (!is_good) Add(value, key, "allowed is a number from 0 to 1");
    } else if (member == "min_size") {
      ReadInteger(value, key, kMaxSize, step.min_size);
    } else {
      ReadInteger(value, key, kMaxCrops, step.most);
    }
  }

  void ReadName(const Json::Value& value, const std::string& key, std::string& name) {
    if (value.isString() && IsName(value.asString())) {
      name = value.asString();
    } else {
      Add(value, key, "allowed is a model's name");
    }
  }

  void ReadClasses(const Json::Value& value, const std::string& key,
                   std::vector<std::string>& classes) {
    const bool is_list = value.isArray() && !value.empty() && value.size() <= kMaxClasses &&
                         std::all_of(value.begin(), value.end(), [](const Json::Value& item) {
                           return item.isString() && !item.asString().empty();
                         });
    if (!is_list) {
      Add(value, key, "allowed is a list of names of classes");
      return;
    }
    for (const Json::Value& item : value) classes.push_back(item.asString());
  }

  void ReadInteger(const Json::Value& value, const std::string& key, int max, int& number) {
    if (value.isInt() && !value.isBool() && value.asInt() >= 1 && value.asInt() <= max) {
      number = value.asInt();
    } else {
      Add(value, key, fmt::format("allowed is a whole number from 1 to {}", max));
    }
  }

  void ReadEach(const Json::Value& value, const std::string& key, int depth,
                std::vector<Config::Step>& each) {
    if (!value.isArray() || value.empty()) {
      Add(value, key, R"(allowed is a list of steps, [{"model": ...}, ...])");
      return;
    }
    if (depth == kMaxPipelineDepth) {
      Add(value, key,
          fmt::format("is too deep: at most {} steps stand one below the other",
                      kMaxPipelineDepth));
      return;
    }
    for (Json::ArrayIndex i = 0; i < value.size(); ++i) {
      const std::string item = fmt::format("{}[{}]", key, i);
      if (!value[i].isObject()) {
        Add(value[i], item, R"(allowed is a step, {"model": ...})");
        continue;
      }
      Config::Step step = ReadStep(item, value[i], depth + 1);
      // What a step has found stands under its model's name.
      const bool is_twice = !step.model.empty() &&
                            std::ranges::find(each, step.model, &Config::Step::model) != each.end();
      if (is_twice) {
        Add(value[i], item + ".model",
            fmt::format("is \"{}\", as that of another step of this list", step.model));
      }
      each.push_back(std::move(step));
    }
  }

  std::vector<MemberProblem>& problems_;
  int steps_ = 0;
  int crops_ = 0;
};

}  // namespace

Config::Pipelines Config::DefaultPipelines() {
  Step line;
  line.model = "text_line";
  line.turn = "text_direction";
  line.most = 128;
  Step text;
  text.model = "text_boxes";
  text.reading_order = true;
  text.each = {std::move(line)};
  return {{"text", std::move(text)}};
}

std::vector<MemberProblem> ReadPipelines(const Json::Value& object, Config::Pipelines& pipelines) {
  std::vector<MemberProblem> problems;
  Reader reader(problems);
  pipelines.clear();
  if (object.size() > kMaxPipelines) {
    reader.Add(object, "pipelines",
               fmt::format("names {} pipelines, allowed are {}", object.size(), kMaxPipelines));
    return problems;
  }
  for (const std::string& name : object.getMemberNames()) {
    const Json::Value& value = object[name];
    const std::string key = "pipelines." + name;
    if (!IsPipelineName(name)) {
      reader.Add(value, "pipelines",
                 fmt::format("has the name \"{}\": allowed are up to {} bytes of UTF-8 without "
                             "'/', '@', ',' and control characters",
                             Utf8Text(name, kMaxName), kMaxName));
    } else if (!value.isObject()) {
      reader.Add(value, key, R"(allowed is a step, {"model": ...})");
    } else {
      pipelines[name] = reader.ReadPipeline(key, value);
    }
  }
  return problems;
}

std::string ToJson(const Config::Step& step) {
  const Config::Step defaults;
  std::vector<std::string> members = {R"("model": )" + QuotedJson(step.model)};
  if (!step.classes.empty()) {
    std::vector<std::string> names;
    for (const std::string& name : step.classes) names.push_back(QuotedJson(name));
    members.push_back(fmt::format(R"("classes": [{}])", fmt::join(names, ", ")));
  }
  if (step.min_confidence != defaults.min_confidence) {
    members.push_back(fmt::format(R"("min_confidence": {})", step.min_confidence));
  }
  if (step.min_size != defaults.min_size) {
    members.push_back(fmt::format(R"("min_size": {})", step.min_size));
  }
  if (step.most != defaults.most) members.push_back(fmt::format(R"("most": {})", step.most));
  if (!step.turn.empty()) members.push_back(R"("turn": )" + QuotedJson(step.turn));
  if (step.reading_order) members.push_back(fmt::format(R"("order": "{}")", kReading));
  if (!step.each.empty()) {
    std::vector<std::string> steps;
    for (const Config::Step& below : step.each) steps.push_back(ToJson(below));
    members.push_back(fmt::format(R"("each": [{}])", fmt::join(steps, ", ")));
  }
  return fmt::format("{{{}}}", fmt::join(members, ", "));
}

std::string ToJson(const Config::Pipelines& pipelines) {
  std::vector<std::string> items;
  for (const auto& [name, step] : pipelines) {
    items.push_back(fmt::format("{}: {}", QuotedJson(name), ToJson(step)));
  }
  return fmt::format("{{{}}}", fmt::join(items, ", "));
}

}  // namespace inferpool
