#include "ops/rules/rule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "shared/base/json_text.h"
#include "shared/base/polygon.h"

namespace inferpool::rules {
namespace {

constexpr std::size_t kMostFindings = 100;
// So far within the picture's edges is the place of what they cut off: a zone that reaches the edge
// has it.
constexpr double kWithin = 1e-6;

bool IsAbout(const Config::Rule& rule, std::string_view camera) {
  return rule.cameras.empty() || std::ranges::find(rule.cameras, camera) != rule.cameras.end();
}

std::string ToJson(const Finding& finding) {
  std::string json = fmt::format(R"({{"class_name":{},"confidence":{:.4f})",
                                 QuotedJson(finding.class_name), finding.confidence);
  if (finding.box) {
    json += fmt::format(R"(,"box":{{"x1":{:.6f},"y1":{:.6f},"x2":{:.6f},"y2":{:.6f}}})",
                        finding.box->x1, finding.box->y1, finding.box->x2, finding.box->y2);
  }
  return json + "}";
}

}  // namespace

bool IsWatched(const Config::Rules& rules, std::string_view camera) {
  return std::ranges::any_of(rules, [&](const auto& rule) { return IsAbout(rule.second, camera); });
}

bool Meets(const Finding& finding, const Config::Rule& rule) {
  if (finding.confidence < rule.min_confidence) return false;
  if (!rule.classes.empty() &&
      std::ranges::find(rule.classes, finding.class_name) == rule.classes.end()) {
    return false;
  }
  if (rule.zone.empty()) return true;
  if (!finding.box) return false;
  const auto within = [](double side) { return std::clamp(side, kWithin, 1 - kWithin); };
  return Contains(rule.zone,
                  {within((finding.box->x1 + finding.box->x2) / 2), within(finding.box->y2)});
}

std::vector<Match> Judge(const Config::Rules& rules, const Answer& answer) {
  std::vector<Match> matches;
  if (!IsWatched(rules, answer.camera)) return matches;
  const std::vector<Finding> findings = FindingsOf(answer.json);
  for (const auto& named : rules) {
    const Config::Rule& rule = named.second;
    if (!IsAbout(rule, answer.camera)) continue;
    Match match{.rule = named.first, .findings = {}};
    std::ranges::copy_if(findings, std::back_inserter(match.findings),
                         [&](const Finding& finding) { return Meets(finding, rule); });
    if (!match.findings.empty()) matches.push_back(std::move(match));
  }
  return matches;
}

std::string EventId(std::string_view rule, int shard, const Answer& answer) {
  return fmt::format("{}:{:02}:{}", rule, shard, answer.entry);
}

std::string EventJson(std::string_view id, const Match& match, const Answer& answer) {
  std::vector<Finding> findings = match.findings;
  std::ranges::stable_sort(findings, std::ranges::greater(), &Finding::confidence);
  if (findings.size() > kMostFindings) findings.resize(kMostFindings);
  std::vector<std::string> items;
  items.reserve(findings.size());
  for (const Finding& finding : findings) items.push_back(ToJson(finding));
  return fmt::format(
      R"({{"id":{},"rule":{},"camera":{},"frame":{},"seq":{},"captured":{},"answered":{},"count":{},"findings":[{}]}})",
      QuotedJson(id), QuotedJson(match.rule), QuotedJson(answer.camera), QuotedJson(answer.frame),
      answer.seq.empty() ? "null" : answer.seq, answer.captured_ms, answer.answered_ms,
      match.findings.size(), fmt::join(items, ","));
}

}  // namespace inferpool::rules
