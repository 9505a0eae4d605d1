use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};

use super::*;

/// A file that is removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> File {
        let path = env::temp_dir().join(format!("x86_vcpu_pdf-{}-{name}", process::id()));
        fs::write(&path, bytes).unwrap();
        File(path)
    }

    fn read(&self) -> Result<Vec<Page>, ReadError> {
        pages(&Input { path: &self.0, bytes: &fs::read(&self.0).unwrap() }, &mut |_, _, _| {})
    }

    fn refused(&self) -> (String, String) {
        let input = Input { path: &self.0, bytes: &fs::read(&self.0).unwrap() };
        let error = refuse(&input, &mut |_, _, _| {}).unwrap_err();
        (error.message, error.help.unwrap())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A PDF with a page per text; each line of a text is `x y size text`, y from the bottom.
fn pdf(texts: &[&str], encrypted: bool) -> Vec<u8> {
    let mut objects = Vec::new();
    let kids: String = (0..texts.len()).fold(String::new(), |mut kids, page| {
        let _ = write!(kids, "{} 0 R ", 4 + 2 * page);
        kids
    });
    objects.push("<< /Type /Catalog /Pages 2 0 R >>".to_string());
    objects.push(format!("<< /Type /Pages /Kids [{kids}] /Count {} >>", texts.len()));
    objects.push("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_string());
    for (page, text) in texts.iter().enumerate() {
        let mut stream = String::new();
        for line in text.lines() {
            let mut parts = line.splitn(4, ' ');
            let [x, y, size, text] = [(); 4].map(|()| parts.next().unwrap());
            let _ = writeln!(stream, "BT /F {size} Tf {x} {y} Td ({text}) Tj ET");
        }
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R /Resources << /Font << /F 3 0 R >> >> >>",
            5 + 2 * page
        ));
        objects.push(format!("<< /Length {} >>\nstream\n{stream}endstream", stream.len()));
    }
    let mut bytes = b"%PDF-1.4\n".to_vec();
    let mut places = String::new();
    for (index, object) in objects.iter().enumerate() {
        // A line of this table has 20 bytes.
        let _ = writeln!(places, "{:010} 00000 n ", bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).bytes());
    }
    let end = bytes.len();
    let key = "00".repeat(32);
    let lock = format!("/ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{key}> /U <{key}> >>");
    let lock = if encrypted { lock } else { String::new() };
    let size = objects.len() + 1;
    bytes.extend(format!("xref\n0 {size}\n0000000000 65535 f \n{places}").bytes());
    bytes.extend(format!("trailer\n<< /Size {size} /Root 1 0 R {lock} >>\nstartxref\n{end}\n%%EOF\n").bytes());
    bytes
}

fn has_poppler() -> bool {
    let there = Command::new("pdftotext").arg("-v").output().is_ok();
    if !there {
        println!("skipped: no pdftotext");
    }
    there
}

#[test]
fn words_lines_and_pages() {
    if !has_poppler() {
        return;
    }
    let first = "300 700 10 right\n50 700 10 left\n72 704 6 12\n50 680 10 below";
    let many = vec!["50 50 10 more"; 70];
    let mut texts = vec![first];
    texts.extend(many);
    let file = File::new("words.pdf", &pdf(&texts, false));
    let pages = file.read().unwrap();
    assert_eq!(pages.len(), 71);
    let lines: Vec<_> = pages[0].lines.iter().map(Line::text).collect();
    assert_eq!(lines, ["left 12 right", "below"]);
    let small: Vec<_> = pages[0].lines[0].words.iter().map(|word| word.small).collect();
    assert_eq!(small, [false, true, false]);
    assert_eq!((pages[70].number, pages[70].lines[0].text().as_str()), (71, "more"));
    let bytes = fs::read(&file.0).unwrap();
    assert_eq!(first_pages(&Input { path: &file.0, bytes: &bytes }, 2).len(), 2);
    assert!(file.refused().0.contains("no manual"));
}

#[test]
fn files_that_cannot_be_read_say_why() {
    if !has_poppler() {
        return;
    }
    let whole = pdf(&["50 50 10 text"], false);
    let (message, help) = File::new("truncated.pdf", &whole[..whole.len() / 3]).refused();
    assert!(message.contains("damaged") && help.contains("download"), "{message}: {help}");
    let (message, help) = File::new("locked.pdf", &pdf(&["50 50 10 text"], true)).refused();
    assert!(message.contains("password") && help.contains("qpdf"), "{message}: {help}");
    let (message, _) = File::new("noise.pdf", b"%PDF-1.4\n\0\0\0rubbish").refused();
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn files_that_are_no_pdf_say_so() {
    let (message, _) = File::new("empty.pdf", b"").refused();
    assert!(message.contains("empty"), "{message}");
    let (message, help) = File::new("picture.pdf", b"\x89PNG\r\n\0\xff").refused();
    assert!(message.contains("no PDF") && help.contains("pdftotext"), "{message}: {help}");
    let dir = env::temp_dir();
    let error = pages(&Input { path: &dir, bytes: b"" }, &mut |_, _, _| {}).unwrap_err();
    assert!(error.message.contains("directory"), "{error}");
}

#[test]
fn the_sum_is_that_of_sha256sum() {
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
