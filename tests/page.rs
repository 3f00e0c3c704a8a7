//! The shipped report in a real browser, wide and narrow: nothing fetched, no error on the console, nothing outside its box.
//! Needs Debian's `chromium`, or another Chromium that `AEGIS_CHROMIUM` names.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::process::Command;

use serde_json::Value;

/// A page of frames, one for each width, that says what it finds in them.
const LOOK: &str = r#"<!doctype html><meta charset="utf-8"><title>look</title><body><script>
const report = REPORT;
const widths = [1280, 390];
const found = [];
for (const width of widths) {
    const frame = document.createElement("iframe");
    frame.style.cssText = `width:${width}px;height:900px;border:0`;
    frame.srcdoc = report;
    frame.onload = () => { found.push(look(frame, width)); if (found.length === widths.length) tell(); };
    document.body.append(frame);
}
function look(frame, width) {
    const page = frame.contentDocument;
    const outside = [];
    for (const element of page.body.querySelectorAll("*")) {
        // What scrolls may be wider inside.
        if (element.closest(".wide") && !element.matches(".wide")) continue;
        const box = element.getBoundingClientRect();
        if (box.width > 0 && (box.left < -0.5 || box.right > width + 0.5)) outside.push(element.tagName);
    }
    for (const svg of page.querySelectorAll("svg")) {
        const frame = svg.getBoundingClientRect();
        for (const part of svg.querySelectorAll("text, rect, circle, polyline")) {
            const box = part.getBoundingClientRect();
            const inside = box.left >= frame.left - 1 && box.right <= frame.right + 1
                && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
            if (!inside) outside.push(`${part.tagName} ${part.textContent.trim()}`);
        }
    }
    const figures = [...page.querySelectorAll("figure")];
    return {
        width,
        outside,
        scrolls: page.documentElement.scrollWidth > width,
        figures: figures.length,
        unnamed: figures.filter((figure) => !figure.getAttribute("aria-label")).length,
        fetched: frame.contentWindow.performance.getEntriesByType("resource").length,
    };
}
function tell() { document.body.innerHTML = `<pre>${JSON.stringify(found)}</pre>`; }
</script></body>"#;

fn chromium() -> std::ffi::OsString {
    std::env::var_os("AEGIS_CHROMIUM").unwrap_or_else(|| "chromium".into())
}

#[test]
fn the_shipped_report_stays_in_its_boxes() {
    let folder = common::folder("page");
    let report = std::fs::read_to_string(common::repository().join("experiments/study/report.html")).unwrap();
    let look = folder.join("look.html");
    // A slash that ends a script may not be seen by the page around it.
    let quoted = serde_json::to_string(&report).unwrap().replace("</", "<\\/");
    std::fs::write(&look, LOOK.replace("REPORT", &quoted)).unwrap();
    let output = Command::new(chromium())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args([
            "--window-size=1400,2000",
            "--virtual-time-budget=10000",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", look.display()))
        .output()
        .expect("chromium is there: apt-get install chromium, or name one in AEGIS_CHROMIUM");
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = dom.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (said, _) = said.unwrap_or_else(|| panic!("nothing was looked at: {dom}\n{log}"));
    let found: Vec<Value> = serde_json::from_str(said).expect("JSON");
    assert_eq!(found.len(), 2, "{said}");
    for page in &found {
        assert_eq!(
            (&page["outside"], &page["scrolls"]),
            (&Value::Array(vec![]), &Value::Bool(false)),
            "{page}"
        );
        assert_eq!((&page["unnamed"], &page["fetched"]), (&0.into(), &0.into()), "{page}");
        assert!(page["figures"].as_u64().unwrap() >= 11, "{page}");
    }
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
