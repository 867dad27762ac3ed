#include "worker/http/picture_input.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace inferpool::http {
namespace {

fcgi::Request Make(std::string type, std::string_view body) {
  fcgi::Request request;
  request.content_type = std::move(type);
  request.body = body;
  return request;
}

// What one picture, or what is wrong, looks like: "picture ..." or "415 unsupported-media".
std::string Shown(const PictureInput& input) {
  if (const auto* problem = std::get_if<Problem>(&input)) {
    return std::to_string(problem->status) + " " + std::string(problem->code);
  }
  return "picture " + std::string(std::get<std::string_view>(input));
}

std::string ReadOne(const fcgi::Request& request) {
  PictureInputs inputs;
  return Shown(ReadPicture(request, inputs));
}

std::string ReadJson(std::string_view body) {
  return ReadOne(Make("application/json", body));
}

TEST(PictureInputTest, AJsonBodyHasThePictureInBase64) {
  for (const char* body :
       {R"({"image":"aGVsbG8="})", R"({"image":"aGVsbG8"})", R"( { "image" : "aGVsbG8=" } )",
        R"({"image":"aGVs\nbG8=\r\n"})", R"({"image":"data:image/jpeg;base64,aGVsbG8="})",
        R"({"image":"data:;base64,aGVsbG8="})", R"({"image":"data:;base64,aGVsbG8%3D"})",
        R"({"image":"DATA:image/png;BASE64,aGVsbG8"})",
        R"({"image":"data:image/svg+xml;charset=utf-8;base64,aGVsbG8="})",
        R"({"image":"\u0061GVsbG8="})"}) {
    EXPECT_EQ(ReadJson(body), "picture hello") << body;
  }
  EXPECT_EQ(ReadOne(Make("Application/JSON; charset=utf-8", R"({"image":"aGVsbG8="})")),
            "picture hello");
  EXPECT_EQ(ReadJson(R"({"image":"+/+/"})"), "picture \xfb\xff\xbf");
}

TEST(PictureInputTest, AnotherJsonBodyIsRefused) {
  for (const char* body : {"",
                           "{}",
                           "[]",
                           "null",
                           "\"aGVsbG8=\"",
                           "nonsense",
                           R"({"image":null})",
                           R"({"image":1})",
                           R"({"image":["aGVsbG8="]})",
                           R"({"image":{"data":"aGVsbG8="}})",
                           R"({"image":""})",
                           R"({"image":"data:image/png;base64,"})",
                           R"({"image":"data:image/png,hello"})",
                           R"({"image":"data:image/png;base64"})",
                           R"({"image":"-_+/"})",
                           R"({"image":"_w/="})",
                           R"({"image":"-"})",
                           R"({"image":"-_.-"})",
                           R"({"image":"a"})",
                           R"({"image":"aGVsbG8=!"})",
                           R"({"image":"aGVs=bG8"})",
                           R"({"image":"aGVsbG8."})",
                           R"({"images":["aGVsbG8="]})",
                           R"({"image":"aGVsbG8=","model":"faces"})",
                           R"({"image":"aGVsbG8=","image":"aGVsbG8="})",
                           R"({"image":"aGVsbG8="} {})",
                           R"({"Image":"aGVsbG8="})"}) {
    EXPECT_EQ(ReadJson(body), "400 bad-request") << body;
  }
  EXPECT_EQ(ReadJson(std::string(1'000'000, '[')), "400 bad-request");
}

TEST(PictureInputTest, TheAlphabetOfAddressesIsReadToo) {
  for (const char* text :
       {"-__-", "-__-\\n", "+//+", "data:image/png;base64,-__-", "data:;base64,%2B//+"}) {
    EXPECT_EQ(ReadJson(std::string(R"({"image":")") + text + "\"}"), "picture \xfb\xff\xfe")
        << text;
  }
  for (const char* text : {"_w==", "_w", "/w==", "/w"}) {
    EXPECT_EQ(ReadJson(std::string(R"({"image":")") + text + "\"}"), "picture \xff") << text;
  }
}

TEST(PictureInputTest, TheRefusalOfACodingSaysWhatWouldDo) {
  fcgi::Request request = Make("image/jpeg", "x");
  request.headers = {{"content-encoding", "gzip"}};
  PictureInputs inputs;
  const PictureInput input = ReadPicture(request, inputs);
  ASSERT_TRUE(std::holds_alternative<Problem>(input));
  EXPECT_EQ(std::get<Problem>(input).accept_encoding, "identity");
  const PictureInput other = ReadPicture(Make("text/plain", "x"), inputs);
  ASSERT_TRUE(std::holds_alternative<Problem>(other));
  EXPECT_EQ(std::get<Problem>(other).accept_encoding, "");
}

TEST(PictureInputTest, WhatIsNoTextIsToldSo) {
  for (const char* body : {R"({"image":1})", R"({"image":true})", R"({"image":null})",
                           R"({"image":["aGVsbG8="]})", R"({"image":{"data":"aGVsbG8="}})"}) {
    PictureInputs inputs;
    const PictureInput input = ReadPicture(Make("application/json", body), inputs);
    const auto* problem = std::get_if<Problem>(&input);
    ASSERT_NE(problem, nullptr) << body;
    EXPECT_NE(problem->detail.find("must be a text"), std::string::npos) << problem->detail;
  }
}

TEST(PictureInputTest, AMemberThatHasNoPlaceIsNamed) {
  for (const char* body : {R"({"image":"aGVsbG8=","confidence":0.5})", R"({"confidence":1})"}) {
    PictureInputs inputs;
    const PictureInput input = ReadPicture(Make("application/json", body), inputs);
    const auto* problem = std::get_if<Problem>(&input);
    ASSERT_NE(problem, nullptr) << body;
    EXPECT_NE(problem->detail.find("it has \"confidence\""), std::string::npos) << problem->detail;
    EXPECT_NE(problem->detail.find("in the query"), std::string::npos) << problem->detail;
  }
}

TEST(PictureInputTest, AddressesAreNotFetched) {
  for (const char* address : {"http://169.254.169.254/latest", "https://localhost/a.jpg",
                              "file:///etc/passwd", "gopher://x", "HTTP://EXAMPLE/A.JPG"}) {
    PictureInputs inputs;
    const std::string body = std::string(R"({"image":")") + address + "\"}";
    const PictureInput input = ReadPicture(Make("application/json", body), inputs);
    const auto* problem = std::get_if<Problem>(&input);
    ASSERT_NE(problem, nullptr) << address;
    EXPECT_EQ(problem->status, 400);
    EXPECT_NE(problem->detail.find("not fetched"), std::string::npos) << problem->detail;
  }
}

TEST(PictureInputTest, AnEncodedBodyIsRefused) {
  for (const auto& [encoding, shown] : {std::pair("", "picture x"),
                                        {"identity", "picture x"},
                                        {" Identity ", "picture x"},
                                        {"gzip", "415 unsupported-media"},
                                        {"identity, gzip", "415 unsupported-media"}}) {
    fcgi::Request request = Make("image/jpeg", "x");
    request.headers = {{"content-encoding", encoding}};
    EXPECT_EQ(ReadOne(request), shown) << encoding;
  }
}

std::string Form(int pictures) {
  std::string form;
  for (int i = 0; i < pictures; ++i) {
    form += "--B\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.jpg\"\r\n\r\n" +
            std::to_string(i) + "\r\n";
  }
  return form + "--B--\r\n";
}

std::string FieldOf(const std::string& disposition, const std::string& content) {
  return "--B\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + content + "\r\n";
}

std::string List(int pictures) {
  std::string list;
  for (int i = 0; i < pictures; ++i) list += list.empty() ? "\"aGVsbG8=\"" : ",\"aGVsbG8=\"";
  return R"({"images":[)" + list + "]}";
}

constexpr const char* kFormType = "multipart/form-data; boundary=B";
constexpr const char* kJsonType = "application/json";

TEST(PictureInputTest, ABatchIsReadInItsOrder) {
  const std::string form = Form(3);
  const auto of_form = ReadPictures(Make(kFormType, form), 3);
  const auto* inputs = std::get_if<PictureInputs>(&of_form);
  ASSERT_NE(inputs, nullptr);
  ASSERT_EQ(inputs->pictures.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(Shown(inputs->pictures[i]), "picture " + std::to_string(i));
  }
  const auto of_json =
      ReadPictures(Make(kJsonType, R"({"images":["YQ==","data:image/png;base64,Yg","Yw=="]})"), 3);
  inputs = std::get_if<PictureInputs>(&of_json);
  ASSERT_NE(inputs, nullptr);
  ASSERT_EQ(inputs->pictures.size(), 3U);
  EXPECT_EQ(Shown(inputs->pictures[0]), "picture a");
  EXPECT_EQ(Shown(inputs->pictures[1]), "picture b");
  EXPECT_EQ(Shown(inputs->pictures[2]), "picture c");
}

TEST(PictureInputTest, ABadPictureOfABatchIsItsOwnProblem) {
  const auto batch = ReadPictures(
      Make(kJsonType, R"({"images":["YQ==","!",7,null,"","http://a/b.jpg","Yg=="]})"), 10);
  const auto* inputs = std::get_if<PictureInputs>(&batch);
  ASSERT_NE(inputs, nullptr);
  ASSERT_EQ(inputs->pictures.size(), 7U);
  EXPECT_EQ(Shown(inputs->pictures[0]), "picture a");
  for (const std::size_t bad : {1U, 2U, 3U, 4U, 5U}) {
    EXPECT_EQ(Shown(inputs->pictures[bad]), "400 bad-request") << bad;
  }
  EXPECT_EQ(Shown(inputs->pictures[6]), "picture b");

  const std::string form =
      "--B\r\nContent-Disposition: form-data; name=\"images\"\r\n\r\n\r\n" + Form(1);
  const auto parts = ReadPictures(Make(kFormType, form), 10);
  inputs = std::get_if<PictureInputs>(&parts);
  ASSERT_NE(inputs, nullptr);
  EXPECT_EQ(Shown(inputs->pictures.at(0)), "400 bad-request");
  EXPECT_EQ(Shown(inputs->pictures.at(1)), "picture 0");
}

TEST(PictureInputTest, ABatchIsBoundedAndNotEmpty) {
  for (const auto& [type, body, shown] :
       {std::tuple(kFormType, Form(5), "413 too-many-images"),
        {kJsonType, List(5), "413 too-many-images"},
        {kFormType, Form(0), "400 bad-request"},
        {kJsonType, List(0), "400 bad-request"},
        {kFormType, Form(10'000), "400 bad-request"},
        {kJsonType, List(10'000), "413 too-many-images"},
        {kJsonType, std::string(R"({"images":"YQ=="})"), "400 bad-request"},
        {kJsonType, std::string(R"({"image":"YQ=="})"), "400 bad-request"},
        {"image/jpeg", std::string("x"), "415 unsupported-media"},
        {"", std::string("x"), "415 unsupported-media"}}) {
    const auto batch = ReadPictures(Make(type, body), 4);
    const auto* problem = std::get_if<Problem>(&batch);
    ASSERT_NE(problem, nullptr) << shown;
    EXPECT_EQ(Shown(*problem), shown);
  }
}

std::string DetailOf(const PictureInput& input) {
  const auto* problem = std::get_if<Problem>(&input);
  return problem == nullptr ? Shown(input) : problem->detail;
}

std::string DetailOfForm(const std::string& fields) {
  const std::string form = fields + "--B--\r\n";
  PictureInputs inputs;
  return DetailOf(ReadPicture(Make(kFormType, form), inputs));
}

TEST(PictureInputTest, AFormsOtherFieldsAreGiven) {
  const std::string form = FieldOf("name=confidence", "0.9") +
                           FieldOf("name=image; filename=a.png", "P") + FieldOf("name=x", "") +
                           FieldOf("name=_charset_", "utf-8") + "--B--\r\n";
  PictureInputs inputs;
  EXPECT_EQ(Shown(ReadPicture(Make(kFormType, form), inputs)), "picture P");
  ASSERT_EQ(inputs.fields.size(), 2U);
  EXPECT_EQ(inputs.fields[0].name, "confidence");
  EXPECT_EQ(inputs.fields[0].value, "0.9");
  EXPECT_EQ(inputs.fields[1].name, "x");

  const std::string batch = FieldOf("name=iou", "0.9") + Form(1);
  const auto read = ReadPictures(Make(kFormType, batch), 10);
  const auto* pictures = std::get_if<PictureInputs>(&read);
  ASSERT_NE(pictures, nullptr);
  ASSERT_EQ(pictures->fields.size(), 1U);
  EXPECT_EQ(pictures->fields[0].value, "0.9");
}

TEST(PictureInputTest, AFieldThatIsJsonIsAText) {
  for (const auto& [json, value] : {std::pair(R"("pixel")", "pixel"),
                                    {"0.5", "0.5"},
                                    {R"("\u0070ng")", "png"},
                                    {R"({"iou":1})", R"({"iou":1})"},
                                    {"\"cut", "\"cut"},
                                    {"", ""}}) {
    const std::string form =
        "--B\r\nContent-Disposition: form-data; name=v\r\n"
        "Content-Type: application/json\r\n\r\n" +
        std::string(json) + "\r\n" + FieldOf("name=image", "P") + "--B--\r\n";
    PictureInputs inputs;
    EXPECT_EQ(Shown(ReadPicture(Make(kFormType, form), inputs)), "picture P");
    ASSERT_EQ(inputs.fields.size(), 1U);
    EXPECT_EQ(inputs.fields[0].value, value);
  }
}

TEST(PictureInputTest, PicturesMayBeNamedAsListsAre) {
  const std::string form = FieldOf("name=\"images[]\"", "a") + FieldOf("name=images[0]", "b") +
                           FieldOf("name=images%5B12%5D", "c") + FieldOf("name=images", "d") +
                           "--B--\r\n";
  const auto read = ReadPictures(Make(kFormType, form), 10);
  const auto* inputs = std::get_if<PictureInputs>(&read);
  ASSERT_NE(inputs, nullptr);
  ASSERT_EQ(inputs->pictures.size(), 4U);
  EXPECT_EQ(Shown(inputs->pictures[0]), "picture a");
  EXPECT_EQ(Shown(inputs->pictures[3]), "picture d");
  EXPECT_EQ(DetailOfForm(FieldOf("name=\"image[]\"", "P")), "picture P");
  EXPECT_EQ(DetailOfForm(FieldOf("name=\"image[0]\"", "P")), "picture P");
  for (const char* other : {"image[a]", "image[", "image]", "image[]x", "images", "image.0"}) {
    EXPECT_EQ(DetailOfForm(FieldOf(std::string("name=\"") + other + "\"", "P")),
              std::string("the form has no field \"image\"; those that it has: \"") + other + "\"");
  }
}

TEST(PictureInputTest, AMissingFieldNamesThoseThatCame) {
  EXPECT_EQ(DetailOfForm(""), "the form has no field \"image\"; those that it has: none");
  EXPECT_EQ(
      DetailOfForm(FieldOf("name=file", "x") + FieldOf("name=file", "x") + FieldOf("x=y", "")),
      "the form has no field \"image\"; those that it has: \"file\", one without a name");
  std::string many;
  for (int i = 0; i < 100; ++i) {
    many += FieldOf("name=" + std::to_string(i) + std::string(1'000, 'x'), "");
  }
  const std::string detail = DetailOfForm(many);
  EXPECT_LT(detail.size(), 500U);
  EXPECT_TRUE(detail.ends_with(", others")) << detail;
}

TEST(PictureInputTest, FileInputsInWhichNothingWasChosenAreLeftOut) {
  const std::string none = FieldOf("name=\"image\"; filename=\"\"", "");
  EXPECT_EQ(DetailOfForm(none), "the request has no image: no file is chosen for \"image\"");
  EXPECT_EQ(DetailOfForm(none + FieldOf("name=image; filename=a.png", "P")), "picture P");
  EXPECT_EQ(DetailOfForm(FieldOf("name=image; filename=a.png", "")),
            "the request has no image: the picture is empty");
  const std::string form = FieldOf("name=\"images\"; filename=\"\"", "") + Form(2);
  const auto read = ReadPictures(Make(kFormType, form), 2);
  const auto* inputs = std::get_if<PictureInputs>(&read);
  ASSERT_NE(inputs, nullptr);
  EXPECT_EQ(inputs->pictures.size(), 2U);
}

TEST(PictureInputTest, APartThatNobodyCanTellIsRefused) {
  EXPECT_EQ(DetailOfForm(FieldOf("name=image", "P") + "--B\r\n\r\nnobody\r\n"),
            "a part of the form has no name");
  EXPECT_EQ(DetailOfForm(FieldOf("name=image", "P") + FieldOf("name=image", "P")),
            "the form has more than one field \"image\"");
}

TEST(PictureInputTest, AnEncodedPartIsUnsupported) {
  const std::string form =
      "--B\r\nContent-Disposition: form-data; name=image\r\n"
      "Content-Transfer-Encoding: base64\r\n\r\nQQ==\r\n--B--\r\n";
  EXPECT_EQ(ReadOne(Make(kFormType, form)), "415 unsupported-media");
}

}  // namespace
}  // namespace inferpool::http
