//! As much of the shell's grammar as documents use: lines, continuations, comments, quotes, and what stands between
//! commands.

/// The simple commands of a block, each as its words. Redirections are left out with what they name.
pub(crate) fn commands(block: &str) -> Result<Vec<Vec<String>>, String> {
    let mut found = Vec::new();
    let joined = block.replace("\\\n", " ");
    for line in joined.lines() {
        let mut words: Vec<String> = Vec::new();
        let mut skip = false;
        for token in tokens(line)? {
            match token {
                Token::Word(_) if skip => skip = false,
                // `NAME=value` in front of a command is for its environment.
                Token::Word(word) if words.is_empty() && is_assignment(&word) => {}
                Token::Word(word) => words.push(word),
                Token::Redirect => skip = true,
                Token::End => found.push(std::mem::take(&mut words)),
            }
        }
        found.push(words);
    }
    found.retain(|words| !words.is_empty());
    Ok(found)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit())
    })
}

enum Token {
    Word(String),
    Redirect,
    End,
}

fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    let end = |word: &mut Option<String>, out: &mut Vec<Token>| out.extend(word.take().map(Token::Word));
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => end(&mut word, &mut out),
            '#' if word.is_none() => break,
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(next) if next == c => break,
                        Some(next) => word.push(next),
                        None => return Err(format!("a quote is not closed: {line}")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("a backslash at the end")?),
            '<' | '>' => {
                // `2>`: the number belongs to it.
                if word.as_ref().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit())) {
                    word = None;
                }
                end(&mut word, &mut out);
                while chars.next_if(|next| matches!(next, '>' | '&')).is_some() {}
                out.push(Token::Redirect);
            }
            '|' | ';' | '&' => {
                end(&mut word, &mut out);
                while chars.next_if(|next| matches!(next, '|' | '&')).is_some() {}
                out.push(Token::End);
            }
            '`' | '(' | ')' => return Err(format!("{c} is more than this test understands: {line}")),
            _ => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut out);
    Ok(out)
}

#[test]
fn commands_are_found() {
    let block = "A=1 one 'two words' # three\nfour --five \\\n    six > seven | eight 2> nine && ten\n";
    let found = commands(block).unwrap();
    let found: Vec<Vec<&str>> = found.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    assert_eq!(found, [vec!["one", "two words"], vec!["four", "--five", "six"], vec!["eight"], vec!["ten"]]);
    assert!(commands("one 'two").is_err());
}
