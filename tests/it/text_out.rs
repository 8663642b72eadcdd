//! A model of texts leaves and is served, on the tiny net of `texts.rs`. That others load it with the same outputs is shown
//! by `tests/export/check_text.py`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::{ask, parsed, serve};
use crate::support::{json as read, names, run};
use crate::texts::{table, tiny_net};

/// A run in `dir/ours`.
fn trained(dir: &Path) {
    tiny_net(dir);
    table(dir, 40);
    let words =
        ["finetune", "--task", "text", "--data", "reviews.csv", "--backbone", "tiny", "--max-length", "12"];
    let more = ["--run", "ours", "--preset", "feature-extraction", "--epochs", "2", "--quiet", "--head"];
    run(dir, &[&words[..], &more, &["cls"]].concat()).expect_success();
}

#[test]
fn a_model_of_texts_leaves_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    let export =
        |format: &str, more: &[&str]| run(dir, &[&["export", "ours", "--format", format], more].concat());

    let text = export("onnx", &[]).expect_success().stdout;
    assert!(
        text.contains("input      input_ids, attention_mask, token_type_ids: int64 [N, T], T up to 12\n"),
        "{text}"
    );
    assert!(text.contains("tokenizer  ours/vocab.txt\n"), "{text}");
    let said = export("torchscript", &["--embeddings", "--json", "--out", "net.pt"]).expect_success().stdout;
    let said = parsed(&said);
    assert_eq!(
        (&said["about"]["outputs"], &said["about"]["task"]),
        (&json!("embeddings"), &json!("text-embedding"))
    );
    assert!(said["difference"].as_f64().unwrap() < 1e-4, "{said}");

    let text = export("transformers", &[]).expect_success().stdout;
    assert!(
        text.contains("class      BertForSequenceClassification\n") && text.contains("passes on"),
        "{text}"
    );
    let inside = [
        "LICENCE.txt",
        "README.md",
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tl.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&dir.join("ours-transformers")), inside);
    let config = read(&dir.join("ours-transformers/config.json"));
    assert_eq!(
        (&config["id2label"]["1"], &config["problem_type"]),
        (&json!("good"), &json!("single_label_classification"))
    );
    let card = fs::read_to_string(dir.join("ours-transformers/README.md")).unwrap();
    for part in [
        "library_name: transformers",
        "text-classification",
        "training texts",
        "validation texts picked",
        "not to be trained on",
    ] {
        assert!(card.contains(part), "`{part}` is not in:\n{card}");
    }
    let modules = ["--embeddings", "--out", "sentences"];
    assert!(
        export("transformers", &modules)
            .expect_success()
            .stdout
            .contains("SentenceTransformer(\"sentences\"")
    );
    assert_eq!(read(&dir.join("sentences/modules.json")).as_array().unwrap().len(), 2);

    export("safetensors", &[]).expect_error(&["--format safetensors is for images", "--format transformers"]);
    export("transformers", &["--probabilities", "--out", "x"])
        .expect_error(&["--probabilities is for TorchScript"]);
    run(dir, &["export", "--backbone", "tiny", "--format", "package"]).expect_error(&["is for a run"]);
    run(dir, &["export", "--backbone", "tiny", "--format", "onnx", "--out", "tiny.onnx"]).expect_success();
}

#[test]
fn a_package_is_a_folder_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    let export = |format: &str| run(dir, &["export", "ours", "--format", format]);
    export("package").expect_success();
    export("zip").expect_success();
    export("zip").expect_error(&["`ours.zip` exists", "--force"]);
    let bytes = fs::read(dir.join("ours.zip")).unwrap();
    run(dir, &["export", "ours.tl", "--format", "zip", "--force"]).expect_success();
    // The card tells of a run, which a package is no longer.
    assert!(names(&dir.join("ours.tl")).contains(&"vocab.txt".to_owned()));
    let predict = |model: &str| {
        run(dir, &["predict", model, "the film is dull", "great", "--raw", "--precision", "f32"])
    };
    let said = predict("ours").expect_success().stdout;
    assert_eq!(predict("ours.tl").expect_success().stdout, said);
    assert_eq!(predict("ours.zip").expect_success().stdout, said);
    run(dir, &["evaluate", "ours.zip", "reviews.csv", "--precision", "f32"]).expect_success();

    // A name of the same length that leads out of the folder.
    let text = b"ours/vocab.txt";
    let mut hostile = bytes.clone();
    let places: Vec<usize> =
        (0..bytes.len() - text.len()).filter(|&i| bytes[i..].starts_with(text)).collect();
    assert_eq!(places.len(), 2, "before the file and in the list");
    for place in places {
        hostile[place..place + text.len()].copy_from_slice(b"../../ocab.txt");
    }
    fs::write(dir.join("bad.zip"), hostile).unwrap();
    predict("bad.zip").expect_error(&["bad.zip"]);
    fs::write(dir.join("half.zip"), &bytes[..bytes.len() / 2]).unwrap();
    predict("half.zip").expect_error(&["half.zip"]);
    assert!(!dir.join("ocab.txt").exists() && !dir.parent().unwrap().join("ocab.txt").exists());
}

#[test]
fn a_model_of_texts_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    let asked =
        ["the film is dull", "great", "a very long text that has many words in it, and more than fit"];
    let args = [&["predict", "ours"][..], &asked, &["--json", "--precision", "f32"]].concat();
    let said: Vec<Value> = run(dir, &args).expect_success().stdout.lines().map(parsed).collect();
    let (mut server, address, _log) = serve(dir, "ours");
    let predict = |body: &[u8]| {
        let (status, body) = ask(&address, "POST /predict", body);
        (status, parsed(&body))
    };
    let close = |got: &Value, said: &Value| {
        for (got, said) in got["top"].as_array().unwrap().iter().zip(said["top"].as_array().unwrap()) {
            let difference = got["probability"].as_f64().unwrap() - said["probability"].as_f64().unwrap();
            assert!(got["class"] == said["class"] && difference.abs() < 1e-4, "{got} {said}");
        }
    };
    let (status, all) = predict(json!({ "texts": asked }).to_string().as_bytes());
    assert_eq!((status, all["predictions"].as_array().unwrap().len()), (200, 3));
    for (got, said) in all["predictions"].as_array().unwrap().iter().zip(&said) {
        assert_eq!(got["text"], said["text"]);
        close(got, said);
    }
    assert_eq!((&all["predictions"][1]["cut"], &all["predictions"][2]["cut"]), (&Value::Null, &json!(true)));
    let (status, one) = predict(asked[0].as_bytes());
    assert_eq!(status, 200);
    close(&one["predictions"][0], &said[0]);
    let (status, pair) = predict(br#"{"texts": [["the film", "is dull"], {"text": "great"}], "top": 1}"#);
    assert_eq!((status, &pair["predictions"][0]["text"]), (200, &json!("the film\tis dull")));
    assert_eq!(pair["predictions"][1]["top"].as_array().unwrap().len(), 1);

    let many = json!({ "texts": vec!["great"; 2049] }).to_string();
    let long = "film ".repeat(20_000);
    let refused: [(&[u8], u16, &str); 11] = [
        (br#"{"text": "#, 400, "no JSON"),
        (br#"{"texts": "great"}"#, 400, "neither `text` nor a list"),
        (br#"{"texts": ["great", 3]}"#, 400, "`texts[1]` is no text"),
        (br#"{"text": "great", "top": 0}"#, 400, "`top` is `0`"),
        (br#"{"text": "great", "model": "x"}"#, 400, "the body"),
        (br#"{"texts": []}"#, 400, "nothing to answer"),
        (b"caf\xe9", 400, "no text in UTF-8"),
        (b" \n", 400, "empty"),
        (long.as_bytes(), 413, "expected at most 65536"),
        (many.as_bytes(), 413, "2049 inputs in one request (expected at most 2048)"),
        (&vec![b'x'; 1 << 21], 413, "more than 1048576 bytes"),
    ];
    for (body, status, reason) in refused {
        let (got, said) = predict(body);
        assert_eq!(got, status, "{said}");
        assert!(said["error"].as_str().unwrap().contains(reason), "{said}");
    }
    // What can be answered is.
    let (status, some) = predict(br#"{"texts": ["great", " "]}"#);
    assert_eq!((status, &some["predictions"][1]["error"]), (200, &json!("the text is empty")));
    assert_eq!(some["predictions"][1]["text"], " ");
    assert_eq!(parsed(&ask(&address, "GET /model", b"").1)["max_length"], 12);
    let page = ask(&address, "GET /", b"").1;
    assert!(page.contains("<textarea") && !page.contains("http://") && !page.contains("https://"));
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}
