//! Announcements as a search meets them: German and English words, a few of them everywhere and most of them hardly anywhere.

use rand::{
    Rng, RngExt as _, SeedableRng as _,
    distr::{Distribution as _, weighted::WeightedIndex},
    rngs::SmallRng,
};

/// Words that stand in every text, from the most frequent on.
const GERMAN_LINKS: &str = "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden \
    aus er hat dass sie nach wird bei einer um am sind noch wie einem über so zum war haben nur oder aber vor zur bis mehr durch";
const ENGLISH_LINKS: &str = "the of and to in a is that for it as was with be by on not he his but at are this have from or had \
    an they which one you were all her she there would their we him been has when who will no more";
/// Words that are also put together, as German does, and as names of English places do.
const GERMAN_WORDS: &str = "Hafen Wind Sturm Turm Burg Markt Feuer Wasser Schiff Anker Segel Mond Stern Stein Eis Gold Silber \
    Eisen Wald Berg Tal Fluss See Insel Brücke Tor Mauer Garten Feld Haus Hof Werk Kraft Licht Nacht Tag Winter Sommer Ernte \
    Jagd Schlacht Turnier Gilde Zunft Meister Wächter Händler Schmied Fischer Bauer Ritter König Drache Wolf Rabe Falke Bär \
    Schwert Schild Bogen Pfeil Karte Schatz";
const ENGLISH_WORDS: &str = "harbour wind storm tower castle market fire water ship anchor sail moon star stone ice gold silver \
    iron forest mountain valley river lake island bridge gate wall garden field house court work power light night day winter \
    summer harvest hunt battle tournament guild craft master guard trader smith fisher farmer knight king dragon wolf raven \
    falcon bear sword shield bow arrow map treasure";

/// The first of these are in so many texts that hardly anybody searches for them alone.
const LINKS: usize = 50;

/// The words of one language, from the most frequent on.
#[derive(Debug)]
struct Language {
    words: Vec<String>,
    /// By rank, as Zipf and Mandelbrot have it.
    frequencies: WeightedIndex<f64>,
}

impl Language {
    fn new(links: &str, stems: &str, random: &mut SmallRng) -> Self {
        let stems: Vec<&str> = stems.split_whitespace().collect();
        let pairs = stems.iter().flat_map(|first| stems.iter().map(move |second| (first, second)));
        let pairs = pairs.filter(|(first, second)| first != second);
        let mut words: Vec<String> = pairs.map(|(first, second)| format!("{first}{}", second.to_lowercase())).collect();
        words.extend(stems.iter().map(|stem| (*stem).to_owned()));
        // Which of them are frequent is the language's whim.
        for at in (1..words.len()).rev() {
            words.swap(at, random.random_range(0..=at));
        }
        let words: Vec<String> = links.split_whitespace().take(LINKS).map(str::to_owned).chain(words).collect();
        let weights = (0_u32..).zip(&words).map(|(rank, _)| 1.0 / (f64::from(rank) + 2.7));
        let frequencies = WeightedIndex::new(weights).expect("every word has a weight");
        Self { words, frequencies }
    }

    fn word(&self, random: &mut SmallRng) -> &str {
        &self.words[self.frequencies.sample(random)]
    }

    /// A word that says something.
    fn telling(&self, random: &mut SmallRng) -> &str {
        loop {
            let at = self.frequencies.sample(random);
            if at >= LINKS {
                return &self.words[at];
            }
        }
    }
}

/// Writes texts, in German and English in turn; the same in every run.
#[derive(Debug)]
pub(super) struct Texts {
    languages: [Language; 2],
    written: usize,
    random: SmallRng,
}

/// One announcement's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) title: String,
    pub(super) body: String,
}

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// A word that nearly every other text has.
    Everywhere,
    /// One of the fifty most frequent words that say something.
    Frequent,
    /// A word of some text, most of which are rare.
    Rare,
    /// Two words of one text.
    Two,
    /// Words that follow each other in a text, as many as a search takes.
    Phrase,
    /// A word of a title with a letter missing.
    Typo,
    /// A word that no text has.
    Nowhere,
}

impl Wanted {
    pub(super) const ALL: [Self; 7] =
        [Self::Everywhere, Self::Frequent, Self::Rare, Self::Two, Self::Phrase, Self::Typo, Self::Nowhere];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Everywhere => "search, a word of every other text",
            Self::Frequent => "search, a frequent word",
            Self::Rare => "search, a word of some text",
            Self::Two => "search, two words of a text",
            Self::Phrase => "search, a phrase of a text",
            Self::Typo => "search, a misspelt word of a title",
            Self::Nowhere => "search, a word of no text",
        }
    }

    /// Whether something must be found.
    pub(super) const fn is_there(self) -> bool {
        !matches!(self, Self::Typo | Self::Nowhere)
    }
}

/// What a search takes at most, in characters.
const SEARCHED: usize = 64;

impl Texts {
    pub(super) fn new() -> Self {
        let mut random = SmallRng::seed_from_u64(4711);
        let german = Language::new(GERMAN_LINKS, GERMAN_WORDS, &mut random);
        let english = Language::new(ENGLISH_LINKS, ENGLISH_WORDS, &mut random);
        Self { languages: [german, english], written: 0, random }
    }

    pub(super) fn write(&mut self) -> Text {
        let Self { languages, written, random } = self;
        let language = &languages[*written % languages.len()];
        *written += 1;
        let title: Vec<&str> = (0..4).map(|_| language.telling(random)).collect();
        let length = random.random_range(30..90);
        let body: Vec<&str> = (0..length).map(|_| language.word(random)).collect();
        Text { title: title.join(" "), body: format!("{}.", body.join(" ")) }
    }

    /// Returns what somebody searches for; `texts` are some of those that there are.
    pub(super) fn search(&mut self, wanted: Wanted, texts: &[Text]) -> String {
        let Self { languages, random, .. } = self;
        let text = &texts[random.random_range(0..texts.len())];
        let words: Vec<&str> = text.body.trim_end_matches('.').split(' ').collect();
        let language = &languages[random.random_range(0..languages.len())];
        match wanted {
            Wanted::Everywhere => language.words[random.random_range(0..3)].clone(),
            Wanted::Frequent => language.words[LINKS + random.random_range(0..LINKS)].clone(),
            Wanted::Rare => words[random.random_range(0..words.len())].to_owned(),
            Wanted::Two => {
                let [first, second] = [(); 2].map(|()| words[random.random_range(0..words.len())]);
                format!("{first} {second}")
            }
            Wanted::Phrase => {
                let start = random.random_range(0..words.len() / 2);
                let mut phrase = words[start].to_owned();
                for word in words[start + 1..].iter().take(4) {
                    if phrase.chars().count() + 1 + word.chars().count() > SEARCHED {
                        break;
                    }
                    phrase = format!("{phrase} {word}");
                }
                phrase
            }
            Wanted::Typo => without_a_letter(text.title.split(' ').next().unwrap_or_default(), random),
            Wanted::Nowhere => {
                let letters = (0..12).map(|_| char::from(random.random_range(b'a'..=b'z')));
                format!("{}q", letters.collect::<String>())
            }
        }
    }
}

fn without_a_letter(word: &str, random: &mut impl Rng) -> String {
    let gap = random.random_range(1..word.chars().count().max(2));
    word.chars().enumerate().filter(|(at, _)| *at != gap).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use weltenwind_core::announcements::{AnnouncementText, Title};

    use super::*;

    #[test]
    fn texts_are_announcements_and_the_same_again() {
        let (mut texts, mut again) = (Texts::new(), Texts::new());
        for _ in 0..200 {
            let text = texts.write();

            assert_eq!(Title::new(&text.title).unwrap().as_str(), text.title);
            assert_eq!(AnnouncementText::new(&text.body).unwrap().as_str(), text.body);
            assert_eq!(text, again.write());
        }
    }

    #[test]
    fn few_words_are_frequent_and_most_are_rare() {
        let mut texts = Texts::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for _ in 0..2000 {
            for word in texts.write().body.split(' ') {
                *seen.entry(word.to_owned()).or_default() += 1;
            }
        }

        let rare = seen.values().filter(|times| **times < 10).count();
        assert!(seen["der"] > 2000 && seen["the"] > 2000, "{} and {}", seen["der"], seen["the"]);
        assert!(rare > seen.len() / 3, "{rare} of {}", seen.len());
    }

    #[test]
    fn searches_are_of_the_texts() {
        let mut texts = Texts::new();
        let written: Vec<Text> = (0..50).map(|_| texts.write()).collect();
        for _ in 0..200 {
            let phrase = texts.search(Wanted::Phrase, &written);
            assert!(written.iter().any(|text| text.body.contains(&phrase)), "{phrase}");
            assert!(phrase.chars().count() <= SEARCHED);
            let two = texts.search(Wanted::Two, &written);
            let has_both = |text: &Text| two.split(' ').all(|word| text.body.contains(word));
            assert!(written.iter().any(has_both), "{two}");
            let nothing = texts.search(Wanted::Nowhere, &written);
            assert!(!written.iter().any(|text| text.body.contains(&nothing) || text.title.contains(&nothing)));
        }
    }
}
